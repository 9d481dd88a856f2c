"""The classifier: a copy of the encoder with a classification head."""

from typing import Any

import keras
from keras import layers

from keras_simclr.keras_internals import save_for_every_backend
from keras_simclr.models.copying import copy_layer_onto, copy_model
from keras_simclr.models.encoder import with_value_range


def build_classifier(
    model: Any,
    num_classes: int,
    freeze_backbone: bool = False,
    projection_layers: int = 0,
    multi_label: bool = False,
) -> keras.Model:
    """Build a classifier on top of a copy of a model's encoder.

    Args:
        model: A built `SimCLR`.
        num_classes: Number of classes.
        freeze_backbone: Whether to freeze the encoder, BatchNormalization statistics included.
            Defaults to False: only layers that are already frozen stay frozen.
        projection_layers: Layers of the projection head to keep below the logits. Defaults to 0.
        multi_label: Whether the probabilities are independent (sigmoid) instead of a softmax.
            Defaults to False.

    Returns:
        A functional `keras.Model` from images to class probabilities (N, num_classes), float32,
        of the encoder's layers and stock Keras layers.

    Raises:
        ValueError: If the head has fewer layers than `projection_layers` or is not a
            `ProjectionHead`, or if the encoder cannot be copied.
    """
    encoder = copy_model(model.encoder)
    if freeze_backbone:
        encoder.trainable = False
    inputs = keras.Input(encoder.input_shape[1:], name="images")
    features = encoder(inputs)
    for layer in _first_layers(model.projection_head, projection_layers):
        features = copy_layer_onto(layer, features)
    initializer = keras.initializers.RandomNormal(stddev=0.01, seed=model.sub_seed("logits"))
    logits = layers.Dense(
        num_classes, kernel_initializer=initializer, dtype=model.dtype_policy, name="logits"
    )(features)
    activation = "sigmoid" if multi_label else "softmax"
    outputs = layers.Activation(activation, dtype="float32", name="probabilities")(logits)
    return with_value_range(keras.Model(inputs, outputs, name="classifier"), model.value_range)


def compile_classifier(
    classifier: keras.Model,
    labeled: Any,
    optimizer: Any,
    loss: Any,
    metrics: Any,
    multi_label: bool,
) -> None:
    """Compile a classifier, and create the state that `fit` would create from its first batch.

    Args:
        classifier: What `build_classifier` returned.
        labeled: The `LabeledData` that it is fitted to.
        optimizer: A Keras optimizer or its name.
        loss: A Keras loss or its name, or "auto" for the cross-entropy.
        metrics: List of Keras metrics or their names, or "auto" for the accuracy.
        multi_label: Whether the probabilities are independent.

    Raises:
        ValueError: If a loss or metric expects labels of the other form.
    """
    if isinstance(loss, str) and loss == "auto":
        one_hot = "categorical" if labeled.one_hot else "sparse_categorical"
        loss = "binary_crossentropy" if multi_label else f"{one_hot}_crossentropy"
    if isinstance(metrics, str) and metrics == "auto":
        metrics = ["accuracy"]
    _check_label_form(loss, metrics, labeled.one_hot)
    classifier.compile(optimizer, loss=loss, metrics=metrics)
    save_for_every_backend(classifier)
    images, labels = labeled.example
    classifier.optimizer.build(classifier.trainable_variables)
    outputs = classifier(images)
    classifier.compute_loss(images, labels, outputs)
    classifier.compute_metrics(images, labels, outputs)
    classifier.reset_metrics()


def _first_layers(head, count):
    if count == 0:
        return []
    if not hasattr(head, "first_layers") or not 0 < count <= head.num_layers:
        raise ValueError(
            "`projection_layers` must be at most the number of layers of the model's "
            f"`ProjectionHead`. Received: projection_layers={count} with {head!r}."
        )
    return head.first_layers(count)


def _check_label_form(loss, metrics, one_hot):
    """Raise a ValueError if a loss or metric expects labels of the other form.

    Keras would report wrong numbers instead of an error: metrics for one-hot labels interpret a
    batch of integers as a single row.
    """
    for given in (loss, *(metrics or ())):
        name = getattr(given, "name", getattr(given, "__name__", given))
        if "categorical" not in str(name).lower() or ("sparse" in str(name).lower()) != one_hot:
            continue
        form = "one-hot labels" if one_hot else "integer labels"
        cure = "without `sparse_`" if one_hot else "with `sparse_`, or one-hot labels"
        raise ValueError(
            f"A loss or metric does not fit {form}. Received: {name!r}. Use the variant {cure}."
        )
