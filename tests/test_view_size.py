import pytest

from keras_simclr.view_size import is_small_view

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "height, width, expected",
    [(32, 32, True), (20, 32, True), (33, 33, False), (32, 33, False), (33, 32, False)],
)
def test_views_of_at_most_32_pixels_on_both_sides_are_small(height, width, expected):
    assert is_small_view(height, width) is expected
