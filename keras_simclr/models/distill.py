"""Distillation: a student learns a classifier's predictions for images without labels."""

import contextlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_simclr import distribution
from keras_simclr.callbacks.main_process import all_callbacks, list_callbacks
from keras_simclr.callbacks.resuming import find_backup
from keras_simclr.data.prepare_distillation import UNLABELED, prepare_distillation_data
from keras_simclr.keras_internals import (
    EpochStart,
    flatten_layers,
    own_loader_seeds,
    save_for_every_backend,
)
from keras_simclr.layers.fine_tuning_views import fine_tuning_views
from keras_simclr.models.classifier import build_classifier
from keras_simclr.models.copying import new_model_like
from keras_simclr.models.encoder import value_range_of, with_value_range
from keras_simclr.models.simclr import SimCLR
from keras_simclr.ops.fast_layers import fast_layers
from keras_simclr.ops.host_memory import freed_memory_kept
from keras_simclr.ops.seeds import derive_seed, draw_seed
from keras_simclr.optimizers import pretraining_recipe
from keras_simclr.training.compilation import check_rate_callbacks
from keras_simclr.validation import check_positive, check_positive_integer, check_probability

# Chen et al. 2020 (arXiv:2006.10029), section 3.1.
SELF_TEMPERATURE, TEMPERATURE = 0.1, 1.0
EPOCHS = 400
TOLERANCE = 1e-3  # between a model's output and the softmax of its logits


class SoftLabels(keras.distillation.DistillationLoss):
    """Cross-entropy of the student with the teacher's probabilities, both at a temperature.

    Args:
        temperature: Positive float that divides the logits of both.
    """

    def __init__(self, temperature):
        self.temperature = temperature

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        """Return the mean over the images, from logits (N, num_classes)."""
        teacher, student = (
            ops.cast(logits, "float32") / self.temperature
            for logits in (teacher_outputs, student_outputs)
        )
        soft_labels = ops.stop_gradient(ops.softmax(teacher))
        return -ops.mean(ops.sum(soft_labels * ops.log_softmax(student), axis=-1))


def distill(
    teacher: keras.Model,
    x: Any,
    y: Any = None,
    *,
    student: Any = None,
    temperature: float | None = None,
    student_loss_weight: float = 0.0,
    value_range: tuple[float, float] | None = None,
    batch_size: int | None = None,
    epochs: int = EPOCHS,
    augmenter: Any = "auto",
    optimizer: Any = "auto",
    callbacks: Any = None,
    shuffle: bool = True,
    steps_per_epoch: int | None = None,
    seed: int | None = None,
    verbose: int | str = "auto",
) -> keras.Model:
    """Train a student to predict what a classifier predicts for images without labels.

    This is the third step of the second paper: pretrain, fine-tune, distill. The student sees the
    same views as the teacher, which does not change, and minimizes the cross-entropy with the
    teacher's probabilities at a temperature.

    Args:
        teacher: A classifier, as `fine_tune` returns it: a functional `keras.Model` whose output
            is the softmax of its layer "logits".
        x: Images (N, H, W, C), or a dataset of batches of images, with or without labels.
        y: Labels for `student_loss_weight`, for arrays: integers, -1 for images without a label.
        student: None for a network like the teacher with new weights; "resnet18", "resnet34" and
            so on; a `SimCLR`, pretrained or not, whose encoder is copied; or a classifier like the
            teacher, which is trained itself. Defaults to None.
        temperature: Divides the logits of both, positive. Defaults to 0.1 for a student as large
            as the teacher, otherwise to 1.
        student_loss_weight: Weight in [0, 1] of the cross-entropy with the labels; the remaining
            weight is that of the teacher's probabilities. Defaults to 0: labels are ignored.
        value_range: (lower, upper) of the images. Defaults to that of the teacher; required for one
            without a `ResNet` that was loaded from a file, unless the student is a `SimCLR`.
        batch_size: Images per batch, for arrays. Defaults to 256, or with fewer images to the
            largest power of two that gives a full batch.
        epochs: Number of epochs. Defaults to 400.
        augmenter: Any layer from images to images, or None. Defaults to "auto": crop and flip, for
            a `SimCLR` student those of its pretraining.
        optimizer: Any Keras optimizer or its name. Defaults to "auto": the recipe of pretraining
            for this size and number of epochs.
        callbacks: Keras callbacks, one or a list. Defaults to None.
        shuffle: Whether to reshuffle the images in every epoch, for arrays. Defaults to True.
        steps_per_epoch: Batches per epoch. Defaults to one pass over the data.
        seed: Integer that makes new weights, order and views repeatable. Defaults to None: drawn.
        verbose: "auto", 0, 1 or 2. Defaults to "auto".

    Returns:
        The fitted student, an ordinary compiled `keras.Model` from images to class probabilities.

    Raises:
        ValueError: If models, images or arguments are invalid. Raised before any training.
        ArithmeticError: If the loss becomes NaN or infinite.

    References:
        Chen et al. 2020 (arXiv:2006.10029), section 2.3; temperatures, epochs, views, and the
        recipe for more than 100 epochs: section 3.1.
    """
    _check_arguments(temperature, student_loss_weight, epochs)
    callbacks = _check_callbacks(callbacks)
    seed = draw_seed() if seed is None else seed
    teacher_logits = logits_model(teacher, "teacher")
    if isinstance(student, SimCLR) and value_range is None:
        value_range = student.value_range
    value_range = value_range_of(teacher, value_range, "teacher")
    data = prepare_distillation_data(
        x,
        y,
        value_range,
        teacher_logits.output_shape[-1],
        use_labels=student_loss_weight > 0,
        batch_size=batch_size,
        steps_per_epoch=steps_per_epoch,
        seed=derive_seed(seed, 1) if shuffle else None,
    )
    _check_softmax(teacher, teacher_logits, data.example, "teacher")
    pretraining = getattr(student, "augmenter", None)
    student = _make_student(student, teacher, data.example, value_range, derive_seed(seed, 2))
    value_range_of(student, value_range, "student")
    if temperature is None:
        is_self = student.count_params() == teacher.count_params()
        temperature = SELF_TEMPERATURE if is_self else TEMPERATURE
    if isinstance(optimizer, str) and optimizer == "auto":
        optimizer = _recipe_optimizer(data, epochs)
    views = fine_tuning_views(augmenter, value_range, derive_seed(seed, 3), pretraining)
    loss = SoftLabels(temperature)
    with _unchanged_flags(teacher):
        distiller = _compiled(teacher_logits, student, loss, float(student_loss_weight), optimizer)
        check_rate_callbacks(callbacks, distiller.optimizer)
        history = _fit(distiller, data.make_dataset(views), callbacks, epochs, verbose)
    metrics = ["accuracy"]
    student.compile(distiller.optimizer, loss="sparse_categorical_crossentropy", metrics=metrics)
    save_for_every_backend(student)
    student.history = history
    return student


def logits_model(model: Any, name: str) -> keras.Model:
    """Return the part of a classifier up to its layer "logits".

    Args:
        model: A functional `keras.Model`.
        name: Its role, for the error message.

    Raises:
        ValueError: If there is no such layer.
    """
    layers = getattr(model, "layers", ()) if isinstance(model, keras.Model) else ()
    if "logits" not in [layer.name for layer in layers]:
        raise ValueError(
            f"The {name} must be a classifier with a layer named 'logits' before the softmax, as "
            f"`fine_tune` returns it. Received: {model!r} with the layers "
            f"{[layer.name for layer in layers]}."
        )
    return keras.Model(model.input, model.get_layer("logits").output, name=f"{name}_logits")


def _check_arguments(temperature, student_loss_weight, epochs):
    if temperature is not None:
        check_positive("temperature", temperature)
    check_probability("student_loss_weight", student_loss_weight)
    check_positive_integer("epochs", epochs, min_=0)
    if distribution.num_devices() > 1:
        raise ValueError(
            f"`distill` works on one device. Received: {distribution.num_devices()} devices. Run "
            "it in one process, without a distribution strategy."
        )


def _check_callbacks(callbacks):
    callbacks = list_callbacks(callbacks)
    if find_backup(callbacks) is not None:
        raise ValueError(
            "`distill` cannot be resumed. Received: a `BackupAndRestore`. Remove it, and save the "
            "student with `keras.callbacks.ModelCheckpoint`."
        )
    return callbacks


def _check_softmax(model, logits, images, name):
    """Raise a ValueError unless a model returns the softmax of its logits."""
    outputs = model(images, training=False), ops.cast(logits(images, training=False), "float32")
    probabilities, expected = map(ops.convert_to_numpy, (outputs[0], ops.softmax(outputs[1])))
    same = probabilities.shape == expected.shape
    if not same or np.abs(probabilities - expected).max() > TOLERANCE:
        raise ValueError(
            f"The output of the {name} must be the softmax of its layer 'logits'. Received: rows "
            f"that start with {probabilities.reshape(len(images), -1)[0, :3].tolist()} instead of "
            f"{expected[0, :3].tolist()}. Classifiers with `multi_label=True` cannot be distilled."
        )


def _make_student(student, teacher, images, value_range, seed):
    """Return the classifier to train, checked."""
    num_classes = teacher.output_shape[-1]
    if student is None:
        return with_value_range(new_model_like(teacher, seed), value_range)
    if isinstance(student, str):
        student = SimCLR(student, value_range=value_range, seed=seed)
    if isinstance(student, SimCLR):
        student.build((None, *images.shape[1:]))
        return build_classifier(student, num_classes)
    _check_softmax(student, logits_model(student, "student"), images, "student")
    if student.output_shape[-1] != num_classes or student is teacher:
        raise ValueError(
            "The student must be another model than the teacher, with the same classes. Received: "
            f"{student!r} with {student.output_shape[-1]} classes, a teacher with {num_classes}."
        )
    return student


def _recipe_optimizer(data, epochs):
    height, width = data.example.shape[1:3]
    recipe = pretraining_recipe(height, width, epochs)
    steps = data.steps_per_epoch
    return recipe.make_optimizer(data.batch_size, max(epochs * steps, 1), steps)


def _compiled(teacher_logits, student, loss, student_loss_weight, optimizer):
    distiller = keras.distillation.Distiller(
        teacher_logits,
        logits_model(student, "student"),
        loss,
        student_loss_weight=student_loss_weight,
    )
    labeled_loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=UNLABELED
    )
    distiller.compile(optimizer, loss=labeled_loss)
    return distiller


@freed_memory_kept()
def _fit(distiller, dataset, callbacks, epochs, verbose):
    with fast_layers(distiller), own_loader_seeds():
        return distiller.fit(
            dataset,
            epochs=epochs,
            callbacks=all_callbacks(callbacks, EpochStart(), dataset),
            shuffle=False,
            verbose=verbose,
        )


@contextlib.contextmanager
def _unchanged_flags(model):
    """Restore the `trainable` flags of a model, all of whose layers are frozen in this context."""
    flags = [(layer, layer.trainable) for layer in flatten_layers(model)]
    try:
        yield
    finally:
        for layer, trainable in flags:
            layer.trainable = trainable
