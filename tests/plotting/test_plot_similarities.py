import numpy as np
import pytest

from keras_simclr.plotting import plot_similarities


def labels(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_medians_of_positives_and_negatives_are_named():
    z_a = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    z_b = np.array([[3.0, 4.0], [0.0, 1.0], [-1.0, 0.0]])
    # positives: 0.6, 1, 1; negatives: 0, -1, 0.8, 0, -0.6, 0
    assert labels(plot_similarities(z_a, z_b)) == [
        "positives (median 1.00)",
        "negatives (median 0.00)",
    ]


def test_a_collapsed_model_has_all_similarities_at_one():
    assert labels(plot_similarities(np.ones((4, 3)), np.ones((4, 3)))) == [
        "positives (median 1.00)",
        "negatives (median 1.00)",
    ]


@pytest.mark.parametrize("shape", [(3, 4), (5,)])
def test_embeddings_of_different_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="`z_a` and `z_b` must have the same shape"):
        plot_similarities(np.ones((5, 4)), np.ones(shape))
