"""A classifier that starts as a linear probe, and ends halfway between it and fine-tuning."""

from collections.abc import Iterable

import keras
import numpy as np

from keras_simclr.data.padding import pad, size_for_devices

MIN_VARIANCE = 0.3  # to scale a feature by, relative to the mean variance (benchmarks/RESULTS.md)


def start_as_linear_probe(
    classifier: keras.Model,
    batches: Iterable,
    class_weight: dict[int, float] | None = None,
    multi_label: bool = False,
) -> None:
    """Initialize the logits of a classifier with a logistic regression on its features.

    Fine-tuning from random logits changes the features before the logits are useful, and with few
    labels loses some of what pretraining learned.

    Args:
        classifier: A model from `build_classifier`.
        batches: Iterable of (images, labels) or (images, labels, sample weights); labels are
            integers or rows.
        class_weight: {class: weight}. Defaults to None: equal weights.
        multi_label: Whether each column of the labels is a separate problem. Defaults to False.

    References:
        Kumar et al. 2022 (arXiv:2202.10054), section 4.
    """
    logits = classifier.get_layer("logits")
    features, labels, weights = _embed(classifier, logits.input, batches)
    scaled, mean, deviation = _standardize(features)
    kernel, bias = np.zeros((features.shape[1], logits.units)), np.zeros(logits.units)
    if multi_label:
        for column in range(logits.units):
            found = _fit(scaled, labels[:, column] > 0.5, weights)
            if found:  # each of the two classes has half of the difference
                kernel[:, column], bias[column] = 2 * found[1][1], 2 * found[2][1]
    else:
        labels = labels.argmax(1) if labels.ndim == 2 else labels.reshape(-1)
        found = _fit(scaled, labels, weights, class_weight)
        if found is None:
            return
        classes, coefficients, intercept = found
        kernel[:, classes], bias[classes] = coefficients.T, intercept
    kernel = kernel / deviation[:, None]
    logits.set_weights([kernel, bias - mean @ kernel])


def average_weights(classifier: keras.Model, start: list[np.ndarray]) -> None:
    """Set the weights of a classifier to the mean of theirs and those that it started with.

    Moving statistics are averaged as well. With few labels, fine-tuning also forgets; the mean
    keeps more of what pretraining learned.

    Args:
        classifier: A fitted classifier.
        start: Its weights before, from `get_weights()`.

    References:
        Wortsman et al. 2022 (arXiv:2109.01903), section 4.
    """
    for weight, before in zip(classifier.weights, start, strict=True):
        if "float" in weight.dtype:
            weight.assign((weight + before) / 2)


def _embed(classifier, layer_input, batches):
    """Return features, labels and, if there are any, sample weights of one pass."""
    embed = keras.Model(classifier.inputs, layer_input)
    features, targets, size = [], [], 0
    for images, *of_images in batches:
        size = max(size, size_for_devices(len(images)))
        found = embed.predict_on_batch(keras.ops.convert_to_tensor(pad(images, size)))
        features.append(np.asarray(found, "float32")[: len(images)])  # those of one replica
        targets.append(of_images)
    labels, *weights = (np.concatenate(parts) for parts in zip(*targets, strict=True))
    return np.concatenate(features), labels, weights[0] if weights else None


def _standardize(features):
    """Return features with mean 0 and standard deviation 1, and their original mean and deviation.

    Features that hardly vary are scaled up less, as the encoder will change.
    """
    mean, variance = features.mean(0), features.var(0)
    deviation = np.sqrt(
        np.maximum(variance, MIN_VARIANCE * variance.mean()) + np.finfo("float32").tiny
    )
    return (features - mean) / deviation, mean, deviation


def _fit(features, labels, sample_weight, class_weight=None):
    """Return classes, coefficients (classes, D) and intercepts, or None if there is one class."""
    from sklearn.linear_model import LogisticRegression

    if sample_weight is not None:
        used = sample_weight > 0
        features, labels, sample_weight = features[used], labels[used], sample_weight[used]
    present = np.unique(labels)
    if len(present) < 2:
        return None
    weights = class_weight and {c: w for c, w in class_weight.items() if c in present}
    fitted = LogisticRegression(class_weight=weights, max_iter=1000)
    fitted.fit(features, labels, sample_weight)
    coefficients, intercept = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # scikit-learn stores only the second
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    return fitted.classes_, coefficients, intercept
