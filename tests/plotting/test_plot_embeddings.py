import numpy as np
import pytest

from keras_simclr.plotting import plot_embeddings, project_embeddings

pytestmark = pytest.mark.once

CENTERS = np.eye(3, 16, dtype="float32")
LABELS = np.repeat([0, 1, 2], 20)


def three_classes():
    noise = np.random.default_rng(0).normal(0, 0.05, (60, 16)).astype("float32")
    return CENTERS[LABELS] + noise


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_classes_that_are_apart_stay_apart(method):
    points = project_embeddings(three_classes(), method)
    centers = np.stack([points[LABELS == label].mean(axis=0) for label in range(3)])
    nearest = np.linalg.norm(points[:, None] - centers, axis=-1).argmin(axis=1)
    np.testing.assert_array_equal(nearest, LABELS)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_only_the_direction_of_an_embedding_counts(method):
    features = three_classes()
    scale = np.random.default_rng(1).uniform(1, 100, (60, 1)).astype("float32")
    one, other = project_embeddings(features, method), project_embeddings(scale * features, method)
    if method == "pca":
        np.testing.assert_allclose(one, other, atol=1e-4)
    else:
        assert np.corrcoef(one[:, 0], other[:, 0])[0, 1] > 0.9


def test_the_same_seed_gives_the_same_map():
    features = three_classes()
    np.testing.assert_array_equal(project_embeddings(features), project_embeddings(features))


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_embeddings_of_a_collapsed_model_are_one_point(method):
    collapsed = np.ones((9, 4)) + 1e-8 * np.random.default_rng(0).normal(size=(9, 4))
    np.testing.assert_array_equal(project_embeddings(collapsed, method), np.zeros((9, 2)))


def test_embeddings_on_a_line_are_projected():
    points = project_embeddings(np.array([[1.0], [1.0], [-1.0]]), "pca")
    np.testing.assert_allclose(points[:, 1], 0)
    assert points[0, 0] == points[1, 0] != points[2, 0]


@pytest.mark.parametrize("features", [np.ones((2, 4)), np.ones(9), np.full((5, 2), np.nan)])
def test_features_that_have_no_map_are_refused(features):
    with pytest.raises(ValueError, match="at least 3 finite rows"):
        project_embeddings(features)


def test_an_unknown_method_is_refused_and_the_known_ones_listed():
    with pytest.raises(ValueError, match="'pca', 'tsne', 'umap'.*method='mds'"):
        project_embeddings(np.eye(4), method="mds")


def test_each_class_has_a_color_and_its_name():
    (axes,) = plot_embeddings(
        three_classes(), LABELS, class_names=["cat", "dog", "fox"], method="pca"
    ).axes
    assert [text.get_text() for text in axes.texts] == ["cat", "dog", "fox"]
    colors = [tuple(points.get_facecolor()[0]) for points in axes.collections]
    assert len(set(colors)) == 3


def test_images_are_drawn_in_place_of_points():
    images = np.zeros((60, 8, 12, 3), "uint8")
    figure = plot_embeddings(three_classes(), images=images, method="pca")
    assert len(figure.axes[0].artists) == 60
    figure.savefig("/dev/null", format="png")


def test_a_sample_of_many_points_is_drawn():
    (axes,) = plot_embeddings(three_classes(), method="pca", max_points=10).axes
    assert len(axes.collections[0].get_offsets()) == 10


@pytest.mark.parametrize("name", ["labels", "images"])
def test_lengths_that_differ_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` and `features` must have the same length"):
        plot_embeddings(np.eye(5), **{name: np.zeros((4, 2, 2, 3))}, method="pca")
