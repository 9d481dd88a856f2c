import numpy as np
import pytest

from keras_simclr.plotting import plot_confusion_matrix

pytestmark = pytest.mark.once


def test_cells_are_percent_of_the_true_class():
    (axes,) = plot_confusion_matrix([0, 0, 0, 0, 2], [0, 0, 0, 2, 2], ["cat", "dog", "fox"]).axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[75, 25], [0, 100]])
    assert [text.get_text() for text in axes.texts] == ["75", "25", "0", "100"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["cat", "fox"]
    assert axes.get_title() == "accuracy 80.0%"


def test_many_classes_are_drawn_without_numbers():
    (axes,) = plot_confusion_matrix(np.arange(30), np.arange(30)).axes
    assert not axes.texts


@pytest.mark.parametrize("predictions", [[0, 1, 1], [[0.2, 0.8], [1.0, 0.0]]])
def test_predictions_of_another_shape_are_refused(predictions):
    with pytest.raises(ValueError, match="`labels` and `predictions`.*argmax"):
        plot_confusion_matrix([0, 1], predictions)


def test_nothing_to_compare_is_refused():
    with pytest.raises(ValueError, match="must have the same shape"):
        plot_confusion_matrix([], [])
