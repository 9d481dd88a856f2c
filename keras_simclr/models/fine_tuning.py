"""Fine-tuning: a classification head replaces the projection head and is fitted to labels."""

import warnings
from typing import Any

import keras

from keras_simclr import distribution
from keras_simclr.callbacks.main_process import all_callbacks, list_callbacks
from keras_simclr.callbacks.resuming import (
    adopted_augmenter_seeds,
    adopted_seed,
    find_backup,
    resumable,
)
from keras_simclr.callbacks.run_state import Run, plain_config
from keras_simclr.data.array_dataset import split_array
from keras_simclr.data.epoch_dataset import weakly
from keras_simclr.data.prepare_labeled import prepare_labeled_data, prepare_validation_data
from keras_simclr.keras_internals import EpochStart
from keras_simclr.layers.fine_tuning_views import fine_tuning_views
from keras_simclr.layers.views import seed_states
from keras_simclr.models.classifier import build_classifier, compile_classifier
from keras_simclr.models.linear_start import average_weights, start_as_linear_probe
from keras_simclr.models.resnet import ResNet
from keras_simclr.ops.digest import digest
from keras_simclr.ops.fast_layers import fast_layers
from keras_simclr.ops.host_memory import freed_memory_kept
from keras_simclr.optimizers import recipes
from keras_simclr.training.compilation import check_rate_callbacks
from keras_simclr.training.run_settings import config_of, run_settings
from keras_simclr.validation import check_positive_integer

EPOCHS, FROZEN_EPOCHS = 30, 100
STEPS_PER_EPOCH = 10  # minimum, by default


class FineTuner(keras.Model):
    """Base class of `SimCLR` that implements `fine_tune`."""

    @property
    def classifier(self) -> keras.Model | None:
        """The classifier of the last `fine_tune`, or None. It is not saved with the model."""
        return self._classifier

    @distribution.run_in_scope
    def fine_tune(
        self,
        x: Any,
        y: Any = None,
        *,
        num_classes: int | None = None,
        multi_label: bool = False,
        batch_size: int | None = None,
        epochs: int | None = None,
        freeze_backbone: bool = False,
        projection_layers: int = 0,
        augmenter: Any = "auto",
        optimizer: Any = "auto",
        loss: Any = "auto",
        metrics: Any = "auto",
        validation_split: float = 0.0,
        validation_data: Any = None,
        callbacks: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        verbose: int | str = "auto",
    ) -> keras.Model:
        """Replace the projection head with a classification head and fit it to labeled images.

        The classifier has its own copy of the encoder, so the model itself never changes. With a
        pretrained encoder and fewer than 10,000 labels, the logits start as a linear probe. With
        `optimizer="auto"`, the final weights are then the mean of those before and after training,
        which tends to be more accurate than either; the logs are those of training.

        Args:
            x: Images (N, H, W, C), or a dataset of batches of (images, labels) or (images,
                labels, sample weights).
            y: Labels, for arrays: integers from 0, or one-hot rows (N, num_classes).
            num_classes: Number of classes. Defaults to the dataset's `class_names`, else the
                width of one-hot labels, else the largest label plus one.
            multi_label: Whether an image may have several classes or none. Labels are then rows
                of zeros and ones, the classifier returns independent probabilities (sigmoid), and
                the loss is binary cross-entropy. Defaults to False.
            batch_size: Images per batch, for arrays. Defaults to 256, or all images if there are
                fewer.
            epochs: Number of epochs, including the first `initial_epoch`. Defaults to 100 with a
                frozen backbone, otherwise 30 epochs of at least 10 steps.
            freeze_backbone: Whether to freeze the encoder, including its BatchNormalization
                statistics (linear evaluation). Defaults to False: only layers that are frozen in
                the model stay frozen.
            projection_layers: Layers of the projection head to keep below the logits; 1 in the
                second paper. Defaults to 0.
            augmenter: Any layer from images to images, or None. Defaults to "auto": the crop
                and flip of pretraining, where crops have at least 0.6 of the area with fewer than
                10,000 labels.
            optimizer: Any Keras optimizer or its name. Defaults to "auto": AdamW, or with
                10,000 or more labels the papers' LARS (SGD with a frozen backbone), with a cosine
                schedule.
            loss: Any Keras loss. Defaults to "auto": cross-entropy.
            metrics: List of Keras metrics. Defaults to "auto": accuracy.
            validation_split: Fraction of the images to validate on, taken from the end, for
                arrays. Defaults to 0.
            validation_data: (images, labels), (images, labels, sample weights), or a dataset of
                such batches.
            callbacks: Keras callbacks, one or a list. Defaults to None.
            shuffle: Whether to reshuffle arrays and image folders every epoch. Defaults to True.
            class_weight: {class: weight}. Defaults to None: equal weights.
            sample_weight: Weights of the images, of shape (N,), for arrays. Defaults to None.
            initial_epoch: Number of epochs already done. Defaults to 0.
            steps_per_epoch: Batches per epoch. Defaults to one pass over the data, and at least
                10 if neither `epochs` nor `freeze_backbone` is set.
            validation_steps: Batches to validate on. Defaults to all.
            validation_batch_size: Images per batch in validation, for arrays. Defaults to
                `batch_size`.
            validation_freq: Epochs between validations. Defaults to 1.
            verbose: "auto", 0, 1 or 2. Defaults to "auto".

        Returns:
            The fitted classifier, an ordinary compiled `keras.Model` from images to class
            probabilities (N, num_classes), also kept as `model.classifier`.

        Raises:
            ValueError: If images, labels or arguments are invalid. Raised before any training.
            ArithmeticError: If the loss becomes NaN or infinite.

        References:
            Chen et al. 2020 (arXiv:2002.05709), section 4 and appendix B.5 and B.6;
            arXiv:2006.10029, section 2. Linear start: Kumar et al. 2022 (arXiv:2202.10054).
            Mean of the weights: Wortsman et al. 2022 (arXiv:2109.01903).
        """
        if class_weight is not None:
            _check_class_weight(class_weight, sample_weight, multi_label)
        if epochs is not None:
            check_positive_integer("epochs", epochs, min_=0)
        callbacks = list_callbacks(callbacks)
        backup = find_backup(callbacks)
        with adopted_seed(self, backup):
            if validation_split:
                (x, y, sample_weight), validation_data = split_array(
                    x, validation_split, y, sample_weight
                )
            labeled = prepare_labeled_data(
                x,
                y,
                sample_weight,
                self.value_range,
                num_classes=num_classes,
                multi_label=multi_label,
                batch_size=batch_size,
                steps_per_epoch=steps_per_epoch,
                min_steps=1 if epochs is not None or freeze_backbone else STEPS_PER_EPOCH,
                seed=self.sub_seed("labels") if shuffle else None,
            )
            if validation_data is not None:
                validation_data = prepare_validation_data(
                    validation_data,
                    labeled,
                    self.value_range,
                    validation_batch_size or labeled.batch_size,
                    multi_label=multi_label,
                )
            self.build((None, *labeled.example[0].shape[1:]))
            if epochs is None:
                epochs = FROZEN_EPOCHS if freeze_backbone else EPOCHS
            classifier = build_classifier(
                self, labeled.num_classes, freeze_backbone, projection_layers, multi_label
            )
            is_recipe = isinstance(optimizer, str) and optimizer == "auto"
            if is_recipe:
                optimizer = _recipe_optimizer(self, labeled, epochs, initial_epoch, freeze_backbone)
            compile_classifier(classifier, labeled, optimizer, loss, metrics, multi_label)
            check_rate_callbacks(callbacks, classifier.optimizer)
            is_probe = _start_logits(self, classifier, labeled, class_weight, multi_label)
            start = classifier.get_weights() if is_probe and is_recipe else None
            seed = self.sub_seed("labelled views")
            min_area = recipes.MIN_AREA if labeled.num_labels < recipes.MANY_LABELS else 0.0
            states = seed_states(augmenter) if isinstance(augmenter, keras.layers.Layer) else []
            augmenter_seeds = adopted_augmenter_seeds(states, backup)
            views = fine_tuning_views(augmenter, self.value_range, seed, self.augmenter, min_area)
            dataset = labeled.make_dataset(views)
            dataset.epoch = initial_epoch
            run = _describe_run(
                self,
                labeled,
                initial_epoch,
                shuffle=shuffle,
                multi_label=multi_label,
                freeze_backbone=freeze_backbone,
                projection_layers=projection_layers,
                class_weight=class_weight,
                loss=config_of(classifier.loss),
                augmenter=config_of(augmenter),
                augmenter_seeds=augmenter_seeds,
            )
            _fit(
                classifier,
                dataset,
                callbacks,
                run,
                epochs=epochs,
                verbose=verbose,
                validation_data=validation_data,
                class_weight=class_weight,
                initial_epoch=initial_epoch,
                validation_steps=validation_steps,
                validation_freq=validation_freq,
            )
        if start is not None:
            average_weights(classifier, start)
        self._set_untracked("_classifier", classifier)
        return classifier


def _start_logits(model, classifier, labeled, class_weight, multi_label):
    """Start a classifier as a linear probe, and return True, if pretrained and with few labels."""
    if not model.pretrained:
        warnings.warn(
            "This model was not pretrained: fine-tuning starts from random weights. Call "
            "`fit` on unlabeled images first.",
            stacklevel=4,
        )
    elif labeled.steps_per_pass and labeled.num_labels < recipes.MANY_LABELS:
        start_as_linear_probe(classifier, labeled.one_pass(), class_weight, multi_label)
        return True
    return False


def _describe_run(model, labeled, initial_epoch, **options):
    def settings():
        return run_settings(
            model,
            labeled,
            num_classes=labeled.num_classes,
            labels=digest(*labeled.targets),
            pretrained_weights=digest(*model.get_weights()),
            **{name: plain_config(value) for name, value in options.items()},
        )

    start = EpochStart(draws=not labeled.is_array)
    return Run(settings, digest(labeled.example[0]), initial_epoch, start)


@freed_memory_kept()
def _fit(classifier, dataset, callbacks, run, verbose, validation_data, **arguments):
    with (
        distribution.training(classifier),
        fast_layers(classifier),
        resumable(callbacks, run),
    ):
        classifier.fit(
            weakly(dataset),
            validation_data=weakly(validation_data),
            callbacks=all_callbacks(callbacks, run.start, dataset),
            verbose=verbose if distribution.is_main_process() else 0,
            shuffle=False,
            **arguments,
        )


def _check_class_weight(class_weight, sample_weight, multi_label):
    if sample_weight is not None or multi_label:
        raise ValueError(
            "`class_weight` works neither with `sample_weight` nor with `multi_label=True`. "
            f"Received: {class_weight=}, {sample_weight=}, {multi_label=}. "
            "Multiply the class weights into `sample_weight` instead."
        )


def _recipe_optimizer(model, labeled, epochs, initial_epoch, freeze_backbone):
    recipe = _recipe(model, labeled.num_labels, freeze_backbone)
    steps = labeled.steps_per_epoch
    optimizer = recipe.make_optimizer(labeled.batch_size, max(epochs * steps, 1), steps)
    optimizer.iterations.assign(initial_epoch * steps)
    return optimizer


def _recipe(model, num_labels, freeze_backbone):
    if num_labels < recipes.MANY_LABELS:
        return recipes.FEW_LABELS_PRETRAINED if model.pretrained else recipes.FEW_LABELS
    if freeze_backbone:
        return recipes.LINEAR_EVALUATION
    wide = isinstance(model.backbone, ResNet) and model.backbone.is_wide_or_selective
    return recipes.FINE_TUNE_WIDE if wide else recipes.FINE_TUNE_10_PERCENT
