import numpy as np
import pytest

from keras_simclr.plotting import plot_neighbors

pytestmark = pytest.mark.once

IMAGES = np.arange(5, dtype="uint8")[:, None, None, None] * np.full((1, 4, 4, 3), 50, "uint8")


def shown(axes):
    return round(float(axes.images[0].get_array().mean()) * 255 / 50)


def test_each_row_is_a_query_and_its_neighbors_in_order():
    figure = plot_neighbors(IMAGES[:2], IMAGES, [[3, 1], [4, 2]])
    assert [shown(axes) for axes in figure.axes] == [0, 3, 1, 1, 4, 2]


def test_similarities_are_written_above():
    figure = plot_neighbors(IMAGES[:1], IMAGES, [[3, 1]], [[0.987, 0.5]])
    assert [axes.get_title() for axes in figure.axes] == ["query", "0.99", "0.50"]


def test_value_range_sets_black_and_white():
    figure = plot_neighbors(IMAGES[4:] / 200, IMAGES / 200, [[0]], value_range=(0, 1))
    means = [axes.images[0].get_array().mean() for axes in figure.axes]
    np.testing.assert_allclose(means, [1, 0])


@pytest.mark.parametrize("indices", [[1, 2], [[1, 2]], np.zeros((2, 0))])
def test_indices_that_do_not_match_the_queries_are_refused(indices):
    with pytest.raises(ValueError, match="`indices` must have shape"):
        plot_neighbors(IMAGES[:2], IMAGES, indices)


def test_similarities_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="`similarities` and `indices`"):
        plot_neighbors(IMAGES[:1], IMAGES, [[3, 1]], [[0.5]])
