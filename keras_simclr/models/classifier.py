"""Fine-tuning: the projection head swapped for a classification head."""

import keras
from keras import layers

from keras_simclr import distribution
from keras_simclr.layers import SimCLRAugmenter, TwoAugmenters
from keras_simclr.models.linear_start import start_as_linear_probe
from keras_simclr.models.resnet import ResNet
from keras_simclr.optimizers import recipes
from keras_simclr.training.batches import FollowEpochs, evaluation_feed
from keras_simclr.training.labels import check_labels, labelled_feed
from keras_simclr.training.views import view_function

EPOCHS, FROZEN_EPOCHS = 30, 100
STEPS_AN_EPOCH = 10  # at least, where nobody said how many


def build_classifier(model, num_classes, freeze_backbone=False, projection_layers=0):
    """Make a classifier that owns a copy of a model's encoder.

    Args:
        model: A built `SimCLR`.
        num_classes: Width of the logits.
        freeze_backbone: Whether the encoder, its BN statistics included, stays as it is.
        projection_layers: Layers of the projection head to keep below the logits.

    Returns:
        A functional `keras.Model` from pictures to class probabilities (N, num_classes), made of
        the encoder's layers and stock Keras layers.

    Raises:
        ValueError: If the head has fewer layers than `projection_layers`, or is not a
            `ProjectionHead`.
    """
    encoder = _copy(model.encoder)
    encoder.trainable = not freeze_backbone
    inputs = keras.Input(encoder.input_shape[1:], name="images")
    features = encoder(inputs)
    for layer in _first_layers(model.projection_head, projection_layers):
        features = _copied_onto(layer, features)
    initializer = keras.initializers.RandomNormal(stddev=0.01, seed=model.sub_seed("logits"))
    logits = layers.Dense(num_classes, kernel_initializer=initializer, name="logits")(features)
    outputs = layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(inputs, outputs, name="classifier")


def _copy(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _first_layers(head, count):
    if count == 0:
        return []
    if not hasattr(head, "first_layers") or not 0 < count <= head.num_layers:
        raise ValueError(
            "`projection_layers` must be at most the number of layers of the model's "
            f"`ProjectionHead`. Received: projection_layers={count} with {head!r}."
        )
    return head.first_layers(count)


def _copied_onto(layer, features):
    copy = layer.__class__.from_config(layer.get_config())
    outputs = copy(features)
    copy.set_weights(layer.get_weights())
    return outputs


def fine_tuned_classifier(
    model,
    x,
    y=None,
    *,
    num_classes=None,
    batch_size=None,
    epochs=None,
    freeze_backbone=False,
    projection_layers=0,
    augmenter="default",
    optimizer=None,
    validation_data=None,
    callbacks=(),
    steps_per_epoch=None,
    **fit_arguments,
):
    """Build a classifier on a model's encoder and fit it on labelled pictures.

    On a pretrained encoder and below 10,000 labels the logits begin as a linear probe.

    Args:
        model: The `SimCLR` model.
        x: Pictures (N, H, W, C), or a dataset of batches of (pictures, labels).
        y: Labels of an array's pictures: integers from 0, or one-hot rows.
        num_classes: Number of classes. Defaults to the dataset's `class_names`, else the width of
            one-hot labels, else what the labels show.
        batch_size: Defaults to 256. Never more than there are pictures.
        epochs: Defaults to 100 passes over the data with a frozen backbone, otherwise to 30
            epochs of at least 10 steps, which of few pictures are several passes.
        freeze_backbone: Whether to leave the encoder as it is (linear evaluation). Defaults to
            False.
        projection_layers: Layers of the projection head to keep below the logits; 1 as in the
            second paper. Defaults to 0.
        augmenter: "default" (crop and flip as in pretraining), None, or any layer from pictures
            to pictures.
        optimizer: Any Keras optimizer. Defaults to AdamW, and from 10,000 labels on to the
            papers' LARS (SGD with a frozen backbone), with a cosine schedule.
        validation_data: (pictures, labels) or a dataset of both.
        callbacks: List of Keras callbacks.
        steps_per_epoch: Batches an epoch. Defaults to one pass over the data, or more as above.
        **fit_arguments: Further arguments of Keras' `fit`, such as `class_weight` and `verbose`.

    Returns:
        The fitted, compiled classifier.

    Raises:
        ValueError: If pictures or labels cannot be trained on, before any training.

    Source: Chen et al. 2020 (arXiv:2002.05709), section 4 and appendix B.5 and B.6;
    arXiv:2006.10029, section 2.
    """
    feed = labelled_feed(
        x,
        y,
        model.value_range,
        num_classes=num_classes,
        batch_size=batch_size,
        steps=steps_per_epoch,
        least_steps=1 if epochs or freeze_backbone else STEPS_AN_EPOCH,
        seed=model.sub_seed("labels"),
    )
    model.build((None, *feed.first.shape[1:]))
    epochs = epochs or (FROZEN_EPOCHS if freeze_backbone else EPOCHS)
    classifier = build_classifier(model, feed.num_classes, freeze_backbone, projection_layers)
    if model.pretrained and feed.a_pass and feed.labels < recipes.MANY_LABELS:
        part, feed.data.part = feed.data.part, (0, 1)
        batches = (feed.data[index] for index in range(feed.a_pass))
        start_as_linear_probe(classifier, batches, fit_arguments.get("class_weight"))
        feed.data.part = part
    feed.data.transform = _views(model, augmenter)
    if optimizer is None:
        wide = isinstance(model.backbone, ResNet) and model.backbone.is_wide_or_selective
        recipe = _recipe(feed.labels, model.pretrained, freeze_backbone, wide)
        optimizer = recipe.make_optimizer(feed.batch_size, epochs * feed.steps, feed.steps)
    kind = "categorical" if feed.one_hot else "sparse_categorical"
    classifier.compile(optimizer, loss=f"{kind}_crossentropy", metrics=["accuracy"])
    if validation_data is not None:
        fit_arguments["validation_data"] = _validation(validation_data, feed, model.value_range)
    _build_training(classifier, *feed.example)
    if not distribution.is_writer():
        fit_arguments["verbose"] = 0
    callbacks = distribution.written_once(callbacks)
    with distribution.training(classifier):
        classifier.fit(
            feed.data,
            epochs=epochs,
            shuffle=False,
            steps_per_epoch=None if feed.data.num_batches else feed.steps,
            callbacks=[FollowEpochs(feed.data), distribution.AverageLogs(), *callbacks],
            **fit_arguments,
        )
    return classifier


def _views(model, augmenter):
    """Return the function that makes a batch's views: crop and flip, as pretraining drew them."""
    if augmenter is None:
        return None
    if augmenter == "default":
        used = model.augmenter
        used = used.first if isinstance(used, TwoAugmenters) else used
        own = isinstance(used, SimCLRAugmenter)
        config = used.get_config() if own else {"value_range": model.value_range}
        left_out = {"jitter": 0.0, "grayscale": 0.0, "blur": 0.0, "custom": []}
        seed = model.sub_seed("labelled views")
        augmenter = SimCLRAugmenter.from_config({**config, **left_out, "seed": seed, "name": None})
    return view_function(augmenter)


def _build_training(classifier, images, labels):
    """Make the variables of optimizer, loss and metrics, for which `fit` would draw a batch."""
    classifier.optimizer.build(classifier.trainable_variables)
    outputs = classifier(images)
    classifier.compute_loss(images, labels, outputs)
    classifier.compute_metrics(images, labels, outputs)
    classifier.reset_metrics()


def _recipe(labels, pretrained, freeze_backbone, wide):
    if labels < recipes.MANY_LABELS:
        return recipes.FEW_LABELS_PRETRAINED if pretrained else recipes.FEW_LABELS
    if freeze_backbone:
        return recipes.LINEAR_EVALUATION
    return recipes.FINE_TUNE_WIDE if wide else recipes.FINE_TUNE_10_PERCENT


def _validation(data, feed, value_range):
    if not isinstance(data, (tuple, list)):
        return evaluation_feed(data, value_range).data
    images, labels = data
    check_labels(labels, feed.num_classes, few_classes=True)
    return evaluation_feed(images, value_range, labels=labels).data
