"""What the numbers of a run mean, in sentences. The limits are rules of thumb."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

COLLAPSED = 0.98  # of the loss of a collapsed model
LOW_RANK = 0.05  # of the dimensions
DEAD = 0.5  # of the dimensions


def describe_history(
    history: Mapping[str, Sequence[float]] | None, temperature: float
) -> list[str]:
    """Describe the curves of pretraining at a temperature."""
    if not history or not len(history.get("relative_loss", [])):
        return []
    sentences = [_describe_loss(history["loss"][-1], history["relative_loss"][-1], temperature)]
    if len(history.get("contrastive_accuracy", [])):
        accuracy = history["contrastive_accuracy"][-1]
        sentences.append(
            f"For {accuracy:.0%} of the views the other view of the same image is the most similar "
            "of the whole batch."
        )
    return sentences


def _describe_loss(loss, relative, temperature):
    if relative <= 0:
        return f"The loss ended at {loss:.2f}."
    if relative >= COLLAPSED:
        return (
            f"The loss ended at {relative:.0%} of the loss of a collapsed model: nothing was "
            "learned. Likely causes are a learning rate that is too high, an augmenter that does "
            "nothing or destroys the images, or images that are all alike."
        )
    collapsed = loss / relative  # ln(2N-1)
    apart = math.log1p((math.exp(collapsed) - 1) * math.exp(-1 / temperature))
    return (
        f"The loss ended at {loss:.2f}. A collapsed model has {collapsed:.2f}; one whose positives "
        f"are equal and whose negatives are at right angles has {apart:.2f} at this batch size and "
        "temperature."
    )


def describe_health(health: Any) -> list[str]:
    """Describe an `evaluation.HealthReport`."""
    fraction = health.effective_rank / health.num_dimensions
    text = f"The features use {health.effective_rank:.0f} of {health.num_dimensions} dimensions"
    if fraction < LOW_RANK:
        sentences = [
            f"{text}, which is few: they carry little information, as after a collapse, or with "
            "images that differ in little."
        ]
    else:
        sentences = [f"{text} (effective rank)."]
    if health.dead_dimensions > DEAD:
        sentences.append(
            f"{health.dead_dimensions:.0%} of the dimensions hardly vary, so most of the network's "
            "width is unused."
        )
    return sentences


def describe_knn(accuracy: float, majority: float) -> list[str]:
    """Describe the accuracy of kNN, beside that of always answering the largest class."""
    text = f"The nearest neighbors predict the class of {accuracy:.1%} of the images"
    if accuracy > majority + 0.02:
        return [f"{text}; the largest class alone would give {majority:.1%}."]
    return [f"{text}, no better than always answering the largest class ({majority:.1%})."]
