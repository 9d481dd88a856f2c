import keras
import numpy as np
import pytest

from keras_simclr.plotting import plot_views


@keras.saving.register_keras_serializable(package="tests")
class AddInTraining(keras.layers.Layer):
    """Add 51, one fifth of 255, when called for training."""

    def call(self, images, training=False):
        return images + 51.0 if training else images


def shown(figure):
    return [axes.images[0].get_array() for axes in figure.axes]


def test_a_row_holds_the_picture_and_its_views():
    images = np.stack([np.full((4, 6, 1), value, "uint8") for value in (0, 102)])
    values = [float(picture.mean()) for picture in shown(plot_views(AddInTraining(), images, 2))]
    np.testing.assert_allclose(values, [0, 0.2, 0.2, 0.4, 0.6, 0.6], atol=1e-6)


def test_columns_have_titles():
    figure = plot_views(AddInTraining(), np.zeros((2, 4, 4, 3)), views=2)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["original", "view 1", "view 2", "", "", ""]


def test_views_are_drawn_anew_for_each_column():
    brightness = keras.layers.RandomBrightness(0.5, seed=1)
    _, one, other = shown(plot_views(brightness, np.full((1, 8, 8, 3), 128.0), views=2))
    assert np.abs(one - other).mean() > 0.01


@pytest.mark.parametrize("channels, shape", [(1, (8, 9)), (2, (8, 9)), (3, (8, 9, 3))])
def test_a_picture_is_shown_by_its_channels(channels, shape):
    figure = plot_views(AddInTraining(), np.zeros((1, 8, 9, channels)))
    assert shown(figure)[0].shape == shape


def test_of_many_channels_the_first_three_are_colours(rng):
    images = rng.integers(0, 256, (1, 8, 9, 5))
    picture = shown(plot_views(AddInTraining(), images))[0]
    np.testing.assert_allclose(picture * 255, images[0, ..., :3], atol=1e-3)


def test_grey_pictures_share_one_scale():
    figure = plot_views(AddInTraining(), np.zeros((1, 8, 8, 1)))
    assert {axes.images[0].get_clim() for axes in figure.axes} == {(0, 1)}


def test_the_augmenters_value_range_is_shown():
    brightness = keras.layers.RandomBrightness(0.0, value_range=(-1.0, 1.0))
    picture = shown(plot_views(brightness, np.zeros((1, 4, 4, 3))))[1]
    np.testing.assert_allclose(picture, 0.5)


def test_values_out_of_range_are_clipped():
    picture = shown(plot_views(AddInTraining(), np.full((1, 4, 4, 3), 250)))[1]
    np.testing.assert_allclose(picture, 1.0)


def test_views_may_have_another_size():
    _, view = shown(plot_views(keras.layers.Resizing(5, 7), np.zeros((1, 9, 9, 3)), views=1))
    assert view.shape == (5, 7, 3)


def test_stock_layers_in_a_sequential_serve():
    augmenter = keras.Sequential(
        [keras.layers.RandomFlip(seed=1), keras.layers.RandomRotation(0.1, seed=2)]
    )
    assert len(plot_views(augmenter, np.zeros((2, 8, 8, 3), "uint8"), views=3).axes) == 8


def test_the_figure_can_be_saved(tmp_path):
    plot_views(AddInTraining(), np.zeros((1, 8, 8, 1))).savefig(tmp_path / "views.png")
    assert (tmp_path / "views.png").stat().st_size > 0


def test_a_picture_without_its_batch_is_refused():
    with pytest.raises(ValueError, match=r"Received: shape=\(8, 8, 3\)"):
        plot_views(AddInTraining(), np.zeros((8, 8, 3)))


def test_no_views_are_refused():
    with pytest.raises(ValueError, match="Received: views=0"):
        plot_views(AddInTraining(), np.zeros((1, 8, 8, 3)), views=0)
