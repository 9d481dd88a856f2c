"""What the numbers of a run mean, in sentences. The limits are rules of thumb."""

from collections.abc import Mapping, Sequence
from typing import Any

COLLAPSED = 0.98  # of the loss of a collapsed model
STILL_FALLING = 0.01  # of the loss, in the last tenth of the epochs
LOW_RANK = 0.05  # of the dimensions
DEAD = 0.5  # of the dimensions


def describe_history(history: Mapping[str, Sequence[float]] | None) -> list[str]:
    """Describe the curves of pretraining."""
    if not history or not len(history.get("loss", [])):
        return []
    sentences = []
    relative = history.get("relative_loss", [None])[-1]
    if relative is not None:
        sentences.append(_describe_loss(relative))
    accuracy = history.get("contrastive_accuracy", [None])[-1]
    if accuracy is not None:
        sentences.append(
            f"For {accuracy:.0%} of the views the other view of the same image is the most similar "
            "of the whole batch."
        )
    return sentences + _describe_end(history["loss"])


def _describe_loss(relative):
    text = f"The loss ended at {relative:.0%} of the loss of a collapsed model"
    if relative < COLLAPSED:
        return f"{text}, so the model tells images apart."
    return (
        f"{text}: nothing was learned. Likely causes are a learning rate that is too high, an "
        "augmenter that does nothing or destroys the images, or images that are all alike."
    )


def _describe_end(loss):
    tenth = max(len(loss) // 10, 1)
    if len(loss) < 5:
        return []
    fall = 1 - loss[-1] / loss[-1 - tenth] if loss[-1 - tenth] else 0.0
    if fall > STILL_FALLING:
        return [
            f"It fell by {fall:.1%} in the last {_epochs(tenth)}: more epochs would probably help."
        ]
    return [f"It changed by {abs(fall):.1%} in the last {_epochs(tenth)}: the run is complete."]


def _epochs(count):
    return "epoch" if count == 1 else f"{count} epochs"


def describe_health(health: Any) -> list[str]:
    """Describe an `evaluation.HealthReport`."""
    share = health.effective_rank / health.num_dimensions
    text = f"The features use {health.effective_rank:.0f} of {health.num_dimensions} dimensions"
    if share < LOW_RANK:
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
    text = f"The nearest neighbors tell the class of {accuracy:.1%} of the images"
    if accuracy > majority + 0.02:
        return [f"{text}; the largest class alone would give {majority:.1%}."]
    return [f"{text}, no better than always answering the largest class ({majority:.1%})."]
