"""SimCLR: pictures -> two views -> encoder -> projection head -> NT-Xent."""

import warnings

import keras
import numpy as np
from keras import ops

from keras_simclr import distribution
from keras_simclr.layers import SimCLRAugmenter, TwoAugmenters
from keras_simclr.layers.random_resized_crop import size_pair
from keras_simclr.layers.random_transform import check_value_range
from keras_simclr.losses import NTXentLoss, contrastive_accuracy
from keras_simclr.losses.nt_xent import check_temperature
from keras_simclr.models.classifier import fine_tuned_classifier
from keras_simclr.models.encoder import (
    build_encoder,
    full_input_shape,
    python_random,
    traced_backbone,
)
from keras_simclr.models.projection_head import ProjectionHead
from keras_simclr.models.resnet import resnet_by_name
from keras_simclr.optimizers import pretraining_recipe
from keras_simclr.training.batches import (
    cut_batches,
    evaluation_feed,
    padded_batches,
    split_array,
    training_feed,
)
from keras_simclr.training.checks import StopOnNonFinite, check_micro_batch_size
from keras_simclr.training.step import embed_views, test_on_views, train_on_views
from keras_simclr.training.views import derived_seed, warn_if_uncompilable

UNBUILT = (
    "The encoder is made when the size of the pictures is known. Call `fit`, call the model on "
    "pictures, or `model.build((None, height, width, channels))` first."
)


@keras.saving.register_keras_serializable(package="keras_simclr")
class SimCLR(keras.Model):
    """Learn features from unlabelled pictures by comparing two views of each.

    The encoder turns pictures into features h, the projection head turns h into z, and NT-Xent
    pulls the z of the two views of a picture together. Calling the model, or `predict`, gives h.

    Args:
        backbone: "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnet200", a
            `ResNet`, or any Keras model, layer or callable from pictures to a feature map or a
            vector. One of ours sees pictures scaled to [0, 1], another one sees them in
            `value_range`. Defaults to "resnet50".
        projection_head: Any Keras layer from h to z. Defaults to `ProjectionHead()`.
        augmenter: Any Keras layer that makes pictures into random views, or two of them, one for
            the first and one for the second views. Defaults to `SimCLRAugmenter` for the size of
            the views.
        temperature: Of the loss, positive. Defaults to the recipe's: 0.5 for views of at most 32
            pixels a side, otherwise 0.1.
        image_size: Size of the views in pixels, an int or (height, width). Defaults to the size
            of the pictures.
        value_range: (low, high) of the pictures. Defaults to (0, 255).
        micro_batch_size: Pictures that the encoder works on at once, at least 2, for batches that
            memory does not hold. Every picture is still compared with all of its batch, and the
            gradient is that of the whole batch, but BatchNormalization takes its statistics from
            a micro-batch. Two passes forward instead of one. Defaults to None, all at once.
        seed: Integer that makes weights, order and views repeatable. Defaults to a random one,
            which `get_config` tells.
        **kwargs: Arguments of `keras.Model`.

    Raises:
        ValueError: If the backbone's name is unknown or an argument is out of its range.

    Example:
    >>> import numpy as np
    >>> model = SimCLR("resnet18", seed=0)
    >>> features = model(np.zeros((2, 32, 32, 3), "uint8"))
    >>> tuple(features.shape)
    (2, 512)

    Source: Chen et al. 2020 (arXiv:2002.05709), section 2.
    """

    def __init__(
        self,
        backbone="resnet50",
        *,
        projection_head=None,
        augmenter=None,
        temperature=None,
        image_size=None,
        value_range=(0, 255),
        micro_batch_size=None,
        seed=None,
        **kwargs,
    ):
        distribution.check_strategy()
        distribution.start()
        super().__init__(**kwargs)
        if temperature is not None:
            check_temperature(temperature)
        self.image_size = size_pair(image_size)
        self.value_range = check_value_range(value_range)
        self.micro_batch_size = check_micro_batch_size(micro_batch_size)
        if seed is None:
            seed = distribution.agreed(int(np.random.default_rng().integers(2**31)))
        self.seed = seed
        self.projection_head = projection_head or ProjectionHead(name="projection_head")
        two = isinstance(augmenter, (tuple, list))
        self.augmenter = TwoAugmenters(*augmenter) if two else augmenter
        self._given_augmenter = augmenter is not None
        is_name = isinstance(backbone, str)
        self._set_untracked("backbone", resnet_by_name(backbone) if is_name else backbone)
        self.pretrained = False
        self._temperature = temperature
        self._encoder = None
        self._view_size = None
        self._contrastive_loss = None
        self._compiled_by_recipe = False
        self._contrastive_accuracy = keras.metrics.Mean(name="contrastive_accuracy")
        self._relative_loss = keras.metrics.Mean(name="relative_loss")
        self._set_untracked("_classifier", None)
        self._set_untracked("_scope", distribution.scope())
        if full_input_shape(self.backbone):
            self.build((None, *full_input_shape(self.backbone)))

    # What it is made of

    @distribution.in_own_scope
    def build(self, input_shape):
        """Make encoder, projection head and augmenter for pictures of (None, H, W, C)."""
        if self._encoder is not None:
            return
        height, width, channels = input_shape[1:]
        self._view_size = tuple(self.image_size or (height, width))
        if None in self._view_size:
            raise ValueError(
                "The size of the views must be known. Received: pictures of shape "
                f"{tuple(input_shape)}. Pass `image_size` to SimCLR."
            )
        view_shape = (*self._view_size, channels)
        self._set_untracked("backbone", traced_backbone(self.backbone, view_shape))
        with python_random(self.sub_seed("weights")):
            self._encoder = build_encoder(self.backbone, view_shape, self.value_range)
            if not self.projection_head.built:
                self.projection_head.build(self._encoder.output_shape)
        if self.augmenter is None:
            self.augmenter = SimCLRAugmenter(
                image_size=self._view_size,
                value_range=self.value_range,
                seed=self.sub_seed("views"),
            )
        if not self.augmenter.built:
            self.augmenter(keras.KerasTensor((None, height, width, channels), "float32"))
        warn_if_uncompilable(self.augmenter)
        self.built = True

    def _set_untracked(self, name, value):
        """Set an attribute that Keras neither tracks nor saves: its weights belong elsewhere."""
        object.__setattr__(self, name, value)

    def sub_seed(self, purpose):
        """Return the seed, derived from that of the model, of what `purpose` names."""
        return derived_seed(self.seed, *purpose.encode())

    @property
    def encoder(self):
        """The functional `keras.Model` from pictures in `value_range` to h."""
        if self._encoder is None:
            raise ValueError(UNBUILT)
        return self._encoder

    @property
    def classifier(self):
        """The classifier that `fine_tune` fitted last, or None. It is not saved with the model."""
        return self._classifier

    @property
    def temperature(self):
        """Temperature of the loss: the one given, else the recipe's for the size of the views."""
        if self._temperature is not None:
            return self._temperature
        return self._recipe().temperature

    @property
    def pictures_seen(self):
        """Number of pictures that the metrics have seen since they were reset, a variable."""
        return self._loss_tracker.count

    @property
    def compute_dtype(self):
        """That of the weights: what is done in half precision, the layers of the model decide.

        So Keras rounds neither the pictures on their way to the augmenter nor the weights on
        their way to the micro-batches.
        """
        return self.variable_dtype

    def _recipe(self, epochs=None):
        if self._view_size is None:
            raise ValueError(UNBUILT)
        return pretraining_recipe(*self._view_size, epochs)

    def call(self, images, training=False):
        """Return h, of shape (N, D), float32.

        What a step gives instead of pictures, {"pictures": (N, H, W, C), "step": its number},
        becomes z of both views of each, of shape (N, 2, D).
        """
        if isinstance(images, dict):
            return embed_views(self, **images, training=training)
        return self.encoder(images, training=training)

    # How it learns

    @distribution.in_own_scope
    def compile(self, optimizer="rmsprop", loss=None, metrics=None, **kwargs):
        """Choose the optimizer and the loss, instead of the recipe's.

        Args:
            optimizer: Any Keras optimizer or its name.
            loss: Called as `loss(z_a, z_b)`. Defaults to `NTXentLoss` with the temperature of the
                model.
            metrics: Not used: pictures without labels have nothing to compare with.
            **kwargs: Further arguments of `keras.Model.compile`.

        Raises:
            ValueError: If metrics are given.
        """
        if metrics or kwargs.get("weighted_metrics"):
            raise ValueError(
                "`metrics` must be left out: pretraining has no labels, and reports "
                f"`contrastive_accuracy` and `relative_loss` by itself. Received: {metrics!r}. "
                "Accuracies belong to `fine_tune`, or to a callback."
            )
        super().compile(optimizer=optimizer, **kwargs)
        self._contrastive_loss = loss
        self._compiled_by_recipe = False

    def _compile_by_recipe(self, feed, epochs, initial_epoch, verbose):
        recipe = self._recipe(epochs)
        if feed.steps is None:
            raise ValueError(
                "The learning rate is planned over all steps, and the length of the dataset is "
                "not known. Pass `steps_per_epoch`, or compile the model yourself."
            )
        plan = (feed.batch_size, epochs * feed.steps, feed.steps)
        optimizer = recipe.make_optimizer(*plan)
        # With mixed precision Keras wraps the optimizer that it is given.
        current = self.optimizer if self.compiled else None
        current = getattr(current, "inner_optimizer", current)
        if isinstance(current, type(optimizer)):
            current.learning_rate = recipe.make_schedule(*plan)
            self.make_train_function(force=True)
        else:
            self.compile(optimizer)
            self._compiled_by_recipe = True
        self.optimizer.iterations.assign(initial_epoch * feed.steps)
        if verbose:
            print(recipe.describe(*plan, temperature=self.temperature))

    def _build_optimizer(self):
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    @distribution.in_own_scope
    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        initial_epoch=0,
        steps_per_epoch=None,
        **kwargs,
    ):
        """Pretrain on pictures; labels, if there are any, are ignored.

        A model that was not compiled is compiled with the recipe for the size of the views and
        the number of epochs, whose schedule is planned over the epochs of each `fit`
        (`initial_epoch` of them count as done).

        Args:
            x: Pictures (N, H, W, C) as an array or tensor, or a dataset of batches of them, with
                or without labels: `tf.data.Dataset`, `DataLoader`, `keras.utils.PyDataset`,
                grain, a generator.
            y: Ignored.
            batch_size: Pictures a batch, for arrays. Defaults to 256, or the largest power of two
                below that gives a step. The last incomplete batch is left out.
            epochs: Number of the last epoch.
            verbose: "auto", 0, 1 or 2 as in Keras.
            callbacks: Keras callbacks.
            validation_split: Share of an array's pictures, its last, to validate on.
            validation_data: Pictures to validate on, as `x`, or a tuple that begins with them.
            shuffle: Whether to draw a new order of an array's pictures for every epoch.
            initial_epoch: Number of epochs already done.
            steps_per_epoch: Batches an epoch. Defaults to one pass over the data.
            **kwargs: `validation_steps`, `validation_batch_size` and `validation_freq` of Keras.

        Returns:
            The `keras.callbacks.History`.

        Raises:
            ValueError: If the pictures cannot be trained on, before any training.
            ArithmeticError: If the loss becomes NaN or infinite, or no loss scale keeps the
                gradients of `mixed_float16` finite.
        """
        distribution.check_strategy()
        if not distribution.is_writer():
            verbose = 0
        if validation_split:
            x, validation_data = split_array(x, validation_split)
        feed = training_feed(
            x,
            y,
            self.value_range,
            batch_size=batch_size,
            seed=self.sub_seed("order") if shuffle else None,
            steps=steps_per_epoch,
            micro_batch_size=self.micro_batch_size,
        )
        if validation_data is not None:
            validation_data = self._evaluation_feed(
                validation_data, kwargs.pop("validation_batch_size", None) or feed.batch_size
            ).data
        self.build((None, *feed.first.shape[1:]))
        if not self.compiled or self._compiled_by_recipe:
            self._compile_by_recipe(feed, epochs, initial_epoch, verbose)
        self._build_optimizer()
        own_callbacks = [*feed.callbacks, distribution.AverageLogs(), StopOnNonFinite()]
        with distribution.training(self):
            history = super().fit(
                feed.data,
                epochs=epochs,
                verbose=verbose,
                callbacks=[*own_callbacks, *distribution.written_once(_listed(callbacks))],
                validation_data=validation_data,
                shuffle=False,
                initial_epoch=initial_epoch,
                steps_per_epoch=None if feed.callbacks else steps_per_epoch,
                **kwargs,
            )
        self.pretrained = True
        return history

    def train_step(self, *args):
        """Take one step on both views of a batch, as Keras calls it on each backend."""
        return train_on_views(self, super().train_step, args)

    def test_step(self, *args):
        """Evaluate both views of a batch; each evaluation draws the same views."""
        return test_on_views(self, super().test_step, args)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Return the loss of the pairs z, (N, 2, D), and note the metrics."""
        z_a, z_b = y_pred[:, 0], y_pred[:, 1]
        contrast, nearest = self._compare(z_a, z_b)
        views = 2 * ops.shape(z_a)[0] * distribution.replicas()
        collapsed = ops.log(ops.cast(views, "float32") - 1)
        self._contrastive_accuracy.update_state(nearest)
        self._relative_loss.update_state(
            contrast * distribution.loss_shares() / collapsed,
            sample_weight=ops.cast(views, "float32") * collapsed,
        )
        return contrast + sum(map(self._aggregate_additional_loss, self.losses))

    def _compare(self, z_a, z_b):
        loss = self._contrastive_loss or NTXentLoss(self.temperature)
        if isinstance(loss, NTXentLoss):
            return loss.with_accuracy(z_a, z_b)
        contrast = loss(distribution.gather(z_a), distribution.gather(z_b))
        if not isinstance(loss, keras.losses.Loss):
            contrast = contrast / distribution.loss_shares()
        return contrast, contrastive_accuracy(z_a, z_b)

    @distribution.in_own_scope
    def evaluate(self, x, y=None, batch_size=None, return_dict=False, **kwargs):
        """Return loss and metrics on pictures, of views that are the same at every call.

        Over several devices pictures that fill no batch are left out.
        """
        feed = self._evaluation_feed(x, batch_size)
        self.build((None, *feed.first.shape[1:]))
        with distribution.running(self):
            logs = super().evaluate(feed.data, return_dict=True, **kwargs)
        logs = distribution.average_logs(logs)
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    @distribution.in_own_scope
    def predict(self, x, batch_size=None, **kwargs):
        """Return h of all pictures as a NumPy array of shape (N, D), float32."""
        feed = evaluation_feed(x, self.value_range, batch_size, shared=False)
        if distribution.devices() == distribution.replicas():  # each by itself
            return super().predict(feed.data, **kwargs)
        padded, counts = padded_batches(feed.data)
        steps = kwargs.pop("steps", feed.steps)
        with distribution.running(self):
            rows = super().predict(padded, steps=steps, **kwargs)
        return cut_batches(rows, counts)

    def _evaluation_feed(self, data, batch_size):
        pictures = data[0] if isinstance(data, (tuple, list)) else data
        return evaluation_feed(
            pictures, self.value_range, batch_size, micro_batch_size=self.micro_batch_size
        )

    @distribution.in_own_scope
    def fine_tune(self, x, y=None, **kwargs):
        """Swap the projection head for a classification head and fit it on labelled pictures.

        The classifier owns a copy of the encoder: the model itself is never changed.

        Args:
            x: Pictures (N, H, W, C), or a dataset of batches of (pictures, labels).
            y: Labels of an array's pictures: integers from 0, or one-hot rows.
            **kwargs: Passed on to `fine_tuned_classifier`, which tells them all: `num_classes`,
                `batch_size`, `epochs`, `freeze_backbone`, `projection_layers`, `augmenter`,
                `optimizer`, `validation_data`, and those of Keras' `fit`.

        Returns:
            The fitted classifier, an ordinary compiled `keras.Model` from pictures to class
            probabilities (N, num_classes), also kept as `model.classifier`.

        Raises:
            ValueError: If pictures or labels cannot be trained on, before any training.
        """
        if not self.pretrained:
            warnings.warn(
                "This model was not pretrained: fine-tuning begins at random weights. Call `fit` "
                "on unlabelled pictures first.",
                stacklevel=2,
            )
        classifier = fine_tuned_classifier(self, x, y, **kwargs)
        self._set_untracked("_classifier", classifier)
        return classifier

    # How it is saved

    def get_config(self):
        """Return what `from_config` takes."""
        parts = {
            "backbone": self.backbone,
            "projection_head": self.projection_head,
            "augmenter": self.augmenter if self._given_augmenter else None,
        }
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
            "temperature": self._temperature,
            "image_size": self.image_size,
            "value_range": self.value_range,
            "micro_batch_size": self.micro_batch_size,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Make the model that `get_config` described."""
        parts = ("backbone", "projection_head", "augmenter")
        restored = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in parts
        }
        return cls(**{**config, **restored})

    def get_compile_config(self):
        """Return how the model was compiled."""
        config = super().get_compile_config()
        if config:
            config["loss"] = keras.saving.serialize_keras_object(self._contrastive_loss)
            config["compiled_by_recipe"] = self._compiled_by_recipe
        return config

    def compile_from_config(self, config):
        """Compile as `get_compile_config` described."""
        config = keras.saving.deserialize_keras_object(config)
        by_recipe = config.pop("compiled_by_recipe", False)
        config.pop("loss_weights", None)
        self.compile(**config)
        self._compiled_by_recipe = by_recipe
        if self.built:
            self._build_optimizer()

    def save_own_variables(self, store):
        """Keep whether the model was pretrained, and the random states of its layers."""
        super().save_own_variables(store)
        store["pretrained"] = np.array(self.pretrained)

    def load_own_variables(self, store):
        """Restore what `save_own_variables` kept."""
        self.pretrained = bool(np.array(store["pretrained"]))


def _listed(callbacks):
    return callbacks if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
