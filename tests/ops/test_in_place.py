"""Arithmetic in place against plain NumPy, eager and compiled."""

import numpy as np
import pytest

from keras_simclr.ops.in_place import clip


@pytest.mark.parametrize(
    ("bounds", "expected"), [((0.0, 1.0), [0, 0, 0.5, 1]), ((0.0,), [0, 0, 0.5, 3])]
)
def test_values_are_clipped(bounds, expected, execute):
    values = np.array([-1, 0, 0.5, 3], "float32")
    assert execute(lambda values: clip(values, *bounds), values).tolist() == expected
