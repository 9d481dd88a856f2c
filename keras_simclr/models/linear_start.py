"""A classification head that begins as a linear probe."""

import keras
import numpy as np


def start_as_linear_probe(classifier, batches, class_weight=None):
    """Set the logits of a classifier to what logistic regression on its features gives.

    Fine-tuning that begins with random logits moves the features before the logits are any good,
    and with few labels loses part of what pretraining learned.

    Args:
        classifier: A model from `build_classifier`.
        batches: Iterable of (pictures, labels), integers or one-hot.
        class_weight: {class: weight}. Defaults to None, all alike.

    Source: Kumar et al. 2022 (arXiv:2202.10054), section 4.
    """
    logits = classifier.get_layer("logits")
    embed = keras.Model(classifier.inputs, logits.input)
    features, labels = [], []
    for images, of_images in batches:
        found = embed.predict_on_batch(keras.ops.convert_to_tensor(images))
        features.append(np.asarray(found, "float32")[: len(images)])  # of one replica
        labels.append(of_images)
    features, labels = np.concatenate(features), np.concatenate(labels)
    labels = labels.argmax(1) if labels.ndim == 2 else labels
    if len(np.unique(labels)) > 1:
        logits.set_weights(_probe(features, labels, logits.units, class_weight))


def _probe(features, labels, num_classes, class_weight):
    """Return kernel (D, num_classes) and bias; classes without a label keep to zero.

    Features that hardly vary are not blown up to unit variance: the encoder is about to move.
    """
    from sklearn.linear_model import LogisticRegression

    mean, variance = features.mean(0), features.var(0)
    deviation = np.sqrt(np.maximum(variance, variance.mean()) + np.finfo("float32").tiny)
    scaled = (features - mean) / deviation
    present = np.unique(labels)
    weights = class_weight and {c: w for c, w in class_weight.items() if c in present}
    fitted = LogisticRegression(class_weight=weights, max_iter=1000).fit(scaled, labels)
    coefficients, intercept = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    kernel, bias = np.zeros((features.shape[1], num_classes)), np.zeros(num_classes)
    kernel[:, fitted.classes_] = (coefficients / deviation).T
    bias[fitted.classes_] = intercept - coefficients @ (mean / deviation)
    return [kernel, bias]
