import numpy as np
import pytest
from keras import ops

from keras_simclr import SimCLRAugmenter
from keras_simclr.layers.fine_tuning_views import fine_tuning_views

PRETRAINING = SimCLRAugmenter(scale=(0.25, 0.8), horizontal_flip=0.0, aspect_ratio=(1, 1), seed=1)
RAMP = np.tile(np.arange(64, dtype="float32"), (64, 64, 1))[..., None]  # columns 0 to 63


def extent_of_crops(min_area):
    """Return the smallest and the largest width of 64 crops, as a fraction of the image's."""
    views = fine_tuning_views("auto", (0, 255), 2, PRETRAINING, min_area)
    found = ops.convert_to_numpy(views(RAMP, 0))
    widths = (found.max((1, 2, 3)) - found.min((1, 2, 3))) / 63
    return widths.min(), widths.max()


@pytest.mark.parametrize(("min_area", "area"), [(0.0, 0.25), (0.6, 0.6), (0.9, 0.25)])
def test_crops_are_those_of_pretraining_from_an_area_on(min_area, area):
    smallest, largest = extent_of_crops(min_area)
    assert area**0.5 - 0.05 < smallest < area**0.5 + 0.1
    assert largest < 0.8**0.5 + 0.05


def test_nothing_is_done_without_an_augmenter():
    assert fine_tuning_views(None, (0, 255), 2) is None
