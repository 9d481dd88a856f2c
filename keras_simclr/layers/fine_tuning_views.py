"""The views that a classifier is trained on."""

from keras_simclr.layers import presets
from keras_simclr.layers.inherit_settings import inherit_settings
from keras_simclr.layers.simclr_augmenter import SimCLRAugmenter
from keras_simclr.layers.two_augmenters import TwoAugmenters
from keras_simclr.layers.views import view_function


def fine_tuning_views(augmenter, value_range, seed, pretraining=None, min_area=0.0):
    """Return the function that creates the views of a batch, or None for no views.

    Args:
        augmenter: A layer, None, or "auto" for the crop and flip of pretraining.
        value_range: (lower, upper) of the images.
        seed: Seed of the default augmenter.
        pretraining: The augmenter used in pretraining, or None if unknown.
        min_area: Lower bound of the crop's area for "auto", as a fraction of the image's, if the
            crops of pretraining may be larger. Defaults to 0.0: only that of pretraining.
    """
    if augmenter is None:
        return None
    if isinstance(augmenter, str) and augmenter == "auto":
        used = pretraining.first if isinstance(pretraining, TwoAugmenters) else pretraining
        own = isinstance(used, SimCLRAugmenter)
        config = used.get_config() if own else {"value_range": value_range}
        lower, upper = config.get("scale", presets.IMAGENET["scale"])
        scale = (max(lower, min_area) if min_area < upper else lower, upper)
        config |= presets.CROP_AND_FLIP
        config |= {"scale": scale, "custom": [], "seed": seed, "name": None}
        augmenter = SimCLRAugmenter.from_config(config)
    inherit_settings(augmenter, value_range)
    return view_function(augmenter)
