"""Keras' `fit`, `evaluate` and `predict`, for images without labels."""

from typing import Any

import keras

from keras_simclr import distribution
from keras_simclr.callbacks.main_process import all_callbacks, list_callbacks
from keras_simclr.callbacks.monitors import Monitor
from keras_simclr.callbacks.resuming import adopted_seed, find_backup, resumable
from keras_simclr.callbacks.run_state import Run
from keras_simclr.data.array_dataset import split_array
from keras_simclr.data.epoch_dataset import weakly
from keras_simclr.data.image_checks import check_channels, check_images
from keras_simclr.data.inspection import images_of, is_array
from keras_simclr.data.padding import pad_batches, remove_padding
from keras_simclr.data.prepare import prepare_evaluation_data, prepare_training_data
from keras_simclr.keras_internals import end_of_data_expected, flatten_metrics
from keras_simclr.ops.digest import digest
from keras_simclr.ops.fast_layers import fast_layers
from keras_simclr.ops.host_memory import freed_memory_kept
from keras_simclr.ops.known_values import without_waiting
from keras_simclr.training.compilation import RecipeCompiler, check_rate_callbacks
from keras_simclr.training.gradient_norm import is_wanted
from keras_simclr.training.metrics import LoggedMetrics
from keras_simclr.training.run_settings import config_of, run_settings
from keras_simclr.training.step import test_on_views, train_on_views, with_static_rank


class Trainer(RecipeCompiler, LoggedMetrics):
    """Base class of `SimCLR` that implements `fit`, `evaluate` and `predict`.

    It uses the attributes `encoder`, `projection_head`, `augmenter`, `value_range`,
    `micro_batch_size`, `temperature` and `pretrained` of `SimCLR`, and its methods `sub_seed`,
    `recipe` and `plan_epochs`.
    """

    @distribution.run_in_scope
    @freed_memory_kept()
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
    ) -> keras.callbacks.History:
        """Pretrain on images; labels, if any, are ignored.

        With the default optimizer, "auto", each `fit` uses the recipe for the size of the views
        and the number of epochs, with a learning rate schedule over its own epochs. The first
        `initial_epoch` epochs count as done.

        Args:
            x: Images (N, H, W, C) as an array or tensor, or a dataset of batches of them, with or
                without labels: `tf.data.Dataset`, `DataLoader`, `keras.utils.PyDataset`, grain, a
                generator.
            y: Ignored.
            batch_size: Images per batch, for arrays; the last incomplete batch is dropped.
                Defaults to 256, or with fewer images to the largest power of two that gives a
                full batch.
            epochs: Number of epochs, including the first `initial_epoch`. Defaults to 1.
            verbose: "auto", 0, 1 or 2. Defaults to "auto".
            callbacks: Keras callbacks, one or a list. Defaults to None.
            validation_split: Fraction of the images to validate on, taken from the end, for
                arrays. Defaults to 0.
            validation_data: Images to validate on, in any form that `x` takes, or a tuple that
                starts with them.
            shuffle: Whether to reshuffle arrays and image folders every epoch. Defaults to True.
            class_weight: Not supported: there are no classes.
            sample_weight: Not supported: the loss compares each image with all others.
            initial_epoch: Number of epochs already done. Defaults to 0.
            steps_per_epoch: Batches per epoch. Defaults to one pass over the data.
            validation_steps: Batches to validate on. Defaults to all.
            validation_batch_size: Images per batch in validation, for arrays. Defaults to
                `batch_size`.
            validation_freq: Epochs between validations. Defaults to 1.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: If the images cannot be trained on. Raised before any training.
            ArithmeticError: If the loss becomes NaN or infinite, or no loss scale keeps the
                gradients of `mixed_float16` finite.
        """
        distribution.check_strategy()
        if class_weight is not None or sample_weight is not None:
            raise ValueError(
                "`class_weight` and `sample_weight` are not supported in pretraining: the loss "
                f"compares each image with all others. Received: {class_weight=}, "
                f"{sample_weight=}. Pass them to `fine_tune`."
            )
        callbacks = list_callbacks(callbacks)
        with adopted_seed(self, find_backup(callbacks)):
            if validation_split:
                (x,), (validation_data,) = split_array(x, validation_split)
            data = prepare_training_data(
                x,
                y,
                self.value_range,
                batch_size=batch_size,
                seed=self.sub_seed("order") if shuffle else None,
                steps_per_epoch=steps_per_epoch,
                micro_batch_size=self.micro_batch_size,
            )
            if validation_data is not None:
                validation = self._prepare_evaluation(
                    validation_data, validation_batch_size or data.batch_size
                )
                check_channels(validation.first.shape, data.first.shape[-1])
                validation_data = validation.data
            verbose = verbose if distribution.is_main_process() else 0
            run = self._prepare_fit(data, epochs, initial_epoch, callbacks, verbose, shuffle)
            with (
                distribution.training(self),
                fast_layers(self),
                without_waiting(self.optimizer),
                self._recorder.recording(self),
                end_of_data_expected(data.keras_steps),
                self._gradient_norm.recording(self, is_wanted(callbacks)),
                resumable(callbacks, run),
            ):
                history = super().fit(
                    weakly(data.data),
                    epochs=epochs,
                    verbose=verbose,
                    callbacks=all_callbacks(callbacks, run.start, data.own_dataset),
                    validation_data=weakly(validation_data),
                    shuffle=False,
                    initial_epoch=initial_epoch,
                    steps_per_epoch=data.keras_steps,
                    validation_steps=validation_steps,
                    validation_freq=validation_freq,
                )
        if epochs > initial_epoch:
            self.pretrained = True
        return history

    def _prepare_fit(self, data, epochs, initial_epoch, callbacks, verbose, shuffle):
        """Create all that `fit` needs, so that errors come before training; return the `Run`."""
        self.build((None, *data.first.shape[1:]))
        self._check_monitors(callbacks)
        if not self.compiled:
            self.compile()
        if self._optimizer_is_auto and epochs > initial_epoch:
            self._plan_recipe(data, epochs, initial_epoch, verbose)
        check_rate_callbacks(callbacks, self.optimizer)
        self._build_optimizer()
        if data.own_dataset:
            data.own_dataset.epoch = initial_epoch
        planned = epochs if self._optimizer_is_auto else None

        def settings():
            return run_settings(
                self,
                data,
                epochs=planned,
                shuffle=shuffle,
                loss=config_of(self._contrastive_loss),
                steps_per_execution=self.steps_per_execution,
            )

        return Run(settings, digest(data.first), initial_epoch, data.epoch_start())

    def _check_monitors(self, callbacks):
        """Raise a ValueError if a monitor has images that the model does not take."""
        for monitor in callbacks:
            for images in monitor.images if isinstance(monitor, Monitor) else ():
                check_images(images, self.value_range)
                check_channels(images.shape, self.encoder.input_shape[-1])

    def train_step(self, *args):
        """Train on views of each image in a batch."""
        if not self._is_planned:
            raise ValueError(
                '`train_on_batch` needs an optimizer. Received: "auto", which only `fit` can plan. '
                "Call `compile(optimizer=...)` first."
            )
        return train_on_views(self, super().train_step, args, self._recorder.step)

    def test_step(self, *args):
        """Evaluate views of each image in a batch, the same ones in every evaluation."""
        return test_on_views(self, super().test_step, args)

    def predict_step(self, *args):
        """Return h of a batch of images."""
        *state, data = args
        images = with_static_rank(images_of(data), self.encoder.input_shape[-1])
        return super().predict_step(*state, (images,))

    @distribution.run_in_scope
    @freed_memory_kept()
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Return the loss and the metrics on images, with the same views in every call.

        On several devices, an incomplete batch is dropped.

        Args:
            x: Images, as in `fit`.
            y: Ignored.
            batch_size: Images per batch, for arrays. Defaults to 256, or fewer for fewer images.
            verbose: "auto", 0, 1 or 2. Defaults to "auto".
            sample_weight: Not supported.
            steps: Batches to evaluate on. Defaults to all.
            callbacks: Keras callbacks, one or a list. Defaults to None.
            return_dict: Whether to return a dict instead of a list. Defaults to False.
            **kwargs: For internal use by Keras.

        Returns:
            `loss`, `contrastive_accuracy` and `relative_loss`.

        Raises:
            ValueError: If the images are invalid.
        """
        if sample_weight is not None:
            raise ValueError(
                "`sample_weight` is not supported: the loss compares each image with all others. "
                f"Received: {type(sample_weight).__name__}. Leave it out."
            )
        data = self._prepare_evaluation(x, batch_size)
        self.build((None, *data.first.shape[1:]))
        if not self.compiled:
            self.compile()
        with (
            distribution.inference(self),
            fast_layers(self),
            end_of_data_expected(steps),
            self._gradient_norm.paused(),
        ):
            options = {"verbose": verbose, "steps": steps, "callbacks": callbacks, **kwargs}
            logs = super().evaluate(weakly(data.data), return_dict=True, **options)
        logs = distribution.all_reduce_logs(logs)
        return logs if return_dict else flatten_metrics(self, logs)

    @distribution.run_in_scope
    @freed_memory_kept()
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return the features h of all images.

        Args:
            x: Images, as in `fit`.
            batch_size: Images per batch, for arrays. Defaults to 256, or fewer for fewer images.
            verbose: "auto", 0, 1 or 2. Defaults to "auto".
            steps: Batches to predict on. Defaults to all.
            callbacks: Keras callbacks, one or a list. Defaults to None.

        Returns:
            NumPy array of shape (N, D), float32.

        Raises:
            ValueError: If the images are invalid.
        """
        data = prepare_evaluation_data(x, self.value_range, batch_size, sharded=False)
        options = {"verbose": verbose, "callbacks": callbacks}
        self.build((None, *data.first.shape[1:]))
        if distribution.num_devices() == distribution.num_replicas():  # every process predicts all
            with fast_layers(self), end_of_data_expected(steps):
                return super().predict(weakly(data.data), steps=steps, **options)
        padded, counts = pad_batches(data.data)
        with distribution.inference(self), fast_layers(self):
            rows = super().predict(padded, steps=steps or data.steps_per_epoch, **options)
        return remove_padding(rows, counts)

    def _prepare_evaluation(self, data, batch_size):
        images, micro = images_of(data), self.micro_batch_size
        size = batch_size if is_array(images) else None
        return prepare_evaluation_data(images, self.value_range, size, micro_batch_size=micro)
