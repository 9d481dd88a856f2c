"""SimCLR: images -> two views -> encoder -> projection head -> NT-Xent."""

import contextlib
from typing import Any

import keras
import numpy as np

from keras_simclr import distribution
from keras_simclr.data.image_checks import check_channels
from keras_simclr.layers import SimCLRAugmenter
from keras_simclr.layers.inherit_settings import inherit_settings
from keras_simclr.layers.two_augmenters import as_layer
from keras_simclr.layers.views import warn_if_uncompilable
from keras_simclr.losses.nt_xent import check_temperature
from keras_simclr.models.copying import untrained_copy, warn_if_uncopyable
from keras_simclr.models.encoder import build_encoder, full_input_shape, traced_backbone
from keras_simclr.models.export import Exporter
from keras_simclr.models.fine_tuning import FineTuner
from keras_simclr.models.preset_methods import PresetMethods
from keras_simclr.models.projection_head import ProjectionHead
from keras_simclr.models.resnet import resnet_by_name
from keras_simclr.ops.seeds import derive_seed, draw_seed, python_random
from keras_simclr.optimizers import pretraining_recipe
from keras_simclr.training.trainer import Trainer
from keras_simclr.validation import check_positive_integer, check_value_range, size_pair

UNBUILT = (
    "The model must be built first, as the encoder depends on the size of the images. Received: a "
    "model that has seen no images. Call `fit`, call the model on images, or call "
    "`model.build((None, height, width, channels))`."
)


@keras.saving.register_keras_serializable(package="keras_simclr")
class SimCLR(PresetMethods, FineTuner, Exporter, Trainer):
    """Learn features from unlabeled images by comparing two views of each.

    The encoder turns images into features h, the projection head turns h into z, and NT-Xent
    pulls the z of the views of an image together. Calling the model, or `predict`, returns h.

    Args:
        backbone: "resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152" or
            "resnet200", also with a width, as in "resnet50_2x" or "resnet10_0.5x", which is fast
            on a CPU; a `ResNet`; or any Keras model, layer or callable from images to a feature
            map or a vector. The ResNets of this package receive images scaled to [0, 1], any other
            backbone receives them in `value_range`. Defaults to "resnet50".
        projection_head: Any Keras layer from h to z. Defaults to `ProjectionHead()`.
        augmenter: Any Keras layer that turns images into random views, or a pair of them, for
            the first views and for all others. Defaults to `SimCLRAugmenter` for the size of the
            views, with the crops of the recipe.
        num_views: Views of each image per step, at least 2. With K views, the loss is the mean of
            NT-Xent over the K (K - 1) / 2 pairs of views: of all first and all second views, of
            all first and all third views, and so on. A step takes K / 2 times the time and memory;
            set `micro_batch_size` if it does not fit. Defaults to 2.
        temperature: Temperature of the loss, positive. Defaults to the recipe's: 0.1, or 0.5 for
            views of at most 32 pixels per side, unless `fit` plans at most 100 epochs.
        image_size: Size of the views in pixels, an int or (height, width). Defaults to the size
            of the images.
        value_range: (lower, upper) of the images. Defaults to (0, 255).
        micro_batch_size: Images that the encoder processes at a time, at least 2, for batches that
            do not fit in memory. Every image is still compared with its whole batch, and the
            gradient is that of the whole batch, but BatchNormalization takes its statistics from a
            micro-batch. It costs a second forward pass. Defaults to None: the whole batch at once.
        seed: Integer that makes the order of the images, the views, and the weights created by
            this model repeatable. The weights of a backbone that is passed in depend on its own
            initializers, and so on `keras.utils.set_random_seed`. Defaults to None: a seed is
            drawn, which `keras.utils.set_random_seed` makes repeatable, and saved in the config.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`; the dtype policy applies to the
            encoder and the head that this model creates.

    Raises:
        ValueError: If the backbone's name is unknown, or an argument is out of range.

    Example:
    >>> import numpy as np
    >>> model = SimCLR("resnet18", seed=0)
    >>> features = model(np.zeros((2, 32, 32, 3), "uint8"))
    >>> tuple(features.shape)
    (2, 512)

    References:
        Chen et al. 2020 (arXiv:2002.05709), section 2.
    """

    def __init__(
        self,
        backbone: Any = "resnet50",
        *,
        projection_head: Any = None,
        augmenter: Any = None,
        num_views: int = 2,
        temperature: float | None = None,
        image_size: int | tuple[int, int] | None = None,
        value_range: tuple[float, float] = (0, 255),
        micro_batch_size: int | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        distribution.check_strategy()
        distribution.initialize()
        super().__init__(**kwargs)
        check_positive_integer("num_views", num_views, min_=2)
        if temperature is not None:
            check_temperature(temperature)
        if micro_batch_size is not None:
            check_positive_integer("micro_batch_size", micro_batch_size, min_=2)
        self.num_views = num_views
        self.image_size = size_pair(image_size)
        self.value_range = check_value_range(value_range)
        self.micro_batch_size = micro_batch_size
        self.seed = distribution.broadcast_number(draw_seed()) if seed is None else seed
        self.seed_is_drawn = seed is None
        self.projection_head = projection_head or ProjectionHead(
            name="projection_head", dtype=self.dtype_policy
        )
        self.augmenter = as_layer(augmenter, num_views)
        self._given_augmenter = augmenter is not None
        is_name = isinstance(backbone, str)
        self._set_untracked("backbone", resnet_by_name(backbone) if is_name else backbone)
        self.pretrained = False
        self._temperature = temperature
        self._encoder: keras.Model | None = None
        self._view_size: tuple[int, int] | None = None
        self._init_compilation()
        self._init_metrics()
        self._set_untracked("_classifier", None)
        self._set_untracked("_scope", distribution.scope())
        shape = full_input_shape(self.backbone)
        if shape:
            self.build((None, *shape))

    @distribution.run_in_scope
    def build(self, input_shape):
        """Create encoder, projection head and augmenter for images of shape (None, H, W, C)."""
        if self._encoder is not None:
            check_channels(input_shape, self._encoder.input_shape[-1])
            return
        with python_random(self.sub_seed("build")):
            self._build_parts(tuple(input_shape))
        warn_if_uncompilable(self.augmenter)
        warn_if_uncopyable(self._encoder)
        self.built = True

    def _build_parts(self, input_shape):
        view_shape = self._build_augmenter(input_shape)
        self._view_size = view_shape[:2]
        self._set_untracked("backbone", traced_backbone(self.backbone, view_shape))
        with python_random(self.sub_seed("weights")):
            self._encoder = build_encoder(
                self.backbone, view_shape, self.value_range, self.dtype_policy
            )
            if not self.projection_head.built:
                self.projection_head.build(self._encoder.output_shape)

    def _build_augmenter(self, input_shape):
        """Create the augmenter if none was given, and return the shape (H, W, C) of the views."""
        images = keras.KerasTensor((None, *input_shape[1:]), "float32")
        size = self.image_size or input_shape[1:3]
        if self.augmenter is None:
            _check_view_size(size, input_shape)
            self.augmenter = SimCLRAugmenter(
                image_size=size, value_range=self.value_range, seed=self.sub_seed("views")
            )
        else:
            inherit_settings(self.augmenter, self.value_range, self.image_size)
        shape = tuple(self.augmenter(images).shape)
        _check_view_size(shape[1:3], input_shape)
        if self.image_size not in (None, shape[1:3]) or shape[3] != input_shape[3]:
            raise ValueError(
                "The views must have the `image_size` of the model, and as many channels as the "
                f"images. Received: views of shape {shape}, images of shape {input_shape}, "
                f"image_size={self.image_size}. Change the augmenter or `image_size`."
            )
        return shape[1:]

    def _set_untracked(self, name, value):
        """Set an attribute that Keras neither tracks nor saves, as its weights belong elsewhere."""
        object.__setattr__(self, name, value)

    def __dir__(self):
        """List the attributes without the classifier: Keras saves the layers that are listed."""
        return [name for name in super().__dir__() if name not in ("classifier", "_classifier")]

    def sub_seed(self, purpose):
        """Return the seed for `purpose`, derived from the seed of the model."""
        return derive_seed(self.seed, *purpose.encode())

    @property
    def encoder(self) -> keras.Model:
        """The functional `keras.Model` from images in `value_range` to h."""
        if self._encoder is None:
            raise ValueError(UNBUILT)
        return self._encoder

    @property
    def temperature(self) -> float:
        """Temperature of the loss; by default, that of the recipe."""
        of_loss = getattr(self._contrastive_loss, "temperature", None)
        return of_loss or self._temperature or self.recipe().temperature

    @property
    def compute_dtype(self):
        """The dtype of the weights; each layer has its own compute dtype.

        This keeps Keras from rounding the images before the augmenter, and the weights before the
        micro-batches.
        """
        return self.variable_dtype

    @property
    def view_shape(self) -> tuple[int, int, int]:
        """The shape (H, W, C) of the views."""
        if self._view_size is None:
            raise ValueError(UNBUILT)
        return *self._view_size, self.encoder.input_shape[-1]

    def untrained_copy(self, seed: int) -> "SimCLR":
        """Return a built model with the settings of this one, another seed and random weights.

        None of its layers is frozen. Weights differ unless an initializer has a seed of its own.
        """
        return untrained_copy(self, seed)

    def recipe(self, epochs: int | None = None):
        """Return the `Recipe` for the views and `epochs`, by default those last planned, if any."""
        return pretraining_recipe(*self.view_shape[:2], epochs or self.planned_epochs)

    def plan_epochs(self, epochs: int | None) -> None:
        """Follow the recipe for `epochs`, also in the crops of an augmenter that was not given."""
        self.planned_epochs = epochs
        if not self._given_augmenter:
            self.augmenter.scale = self.recipe().crop_area

    def call(self, images, training=False):
        """Return the features h of images, of shape (N, D), float32."""
        return self.encoder(images, training=training)

    def get_config(self):
        """Return the arguments that `from_config` takes."""
        parts = {
            "backbone": self.backbone,
            "projection_head": self.projection_head,
            "augmenter": self.augmenter if self._given_augmenter else None,
        }
        return {
            **super().get_config(),
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
            "num_views": self.num_views,
            "temperature": self._temperature,
            "image_size": self.image_size,
            "value_range": self.value_range,
            "micro_batch_size": self.micro_batch_size,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Create a model from its config, in which parts may also be objects."""
        parts = ("backbone", "projection_head", "augmenter")
        seed = config.get("seed")
        kept = contextlib.nullcontext() if seed is None else python_random(derive_seed(seed))
        with kept:  # initializers draw seeds when they are created
            restored = {
                name: keras.saving.deserialize_keras_object(config[name], custom_objects)
                for name in parts
                if isinstance(config[name], dict)
            }
            return cls(**{**config, **restored})

    def save_own_variables(self, store):
        """Save its own variables, whether it was pretrained, and the epochs of its recipe."""
        super().save_own_variables(store)
        store["pretrained"] = np.array(self.pretrained)
        store["planned_epochs"] = np.array(self.planned_epochs or 0)

    def load_own_variables(self, store):
        """Load what `save_own_variables` saves."""
        self.pretrained = bool(np.array(store["pretrained"]))
        self.plan_epochs(int(np.array(store["planned_epochs"])) or None)


def _check_view_size(size, input_shape):
    if None in size:
        raise ValueError(
            "The size of the views must be known. Received: images of shape "
            f"{tuple(input_shape)}. Pass `image_size` to `SimCLR`."
        )
