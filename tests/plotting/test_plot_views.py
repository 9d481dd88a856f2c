import keras
import numpy as np
import pytest

from keras_simclr.plotting import plot_views


@keras.saving.register_keras_serializable(package="tests")
class AddInTraining(keras.layers.Layer):
    """Add 51, one fifth of 255, during training."""

    def call(self, images, training=False):
        return images + 51.0 if training else images


class TwoAugmenters(keras.layers.Layer):
    """Has an augmenter for each view, like that of `keras_simclr.layers`."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Rescaling(1.0, offset=51.0)
        self.second = keras.layers.Rescaling(1.0, offset=102.0)


def shown(figure):
    return [axes.images[0].get_array() for axes in figure.axes]


def test_a_row_has_the_image_and_its_views():
    images = np.stack([np.full((4, 6, 1), value, "uint8") for value in (0, 102)])
    values = [float(image.mean()) for image in shown(plot_views(AddInTraining(), images, 2))]
    np.testing.assert_allclose(values, [0, 0.2, 0.2, 0.4, 0.6, 0.6], atol=1e-6)


def test_columns_have_titles():
    figure = plot_views(AddInTraining(), np.zeros((2, 4, 4, 3)), views=2)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["original", "view 1", "view 2", "", "", ""]


def test_each_column_has_other_views():
    brightness = keras.layers.RandomBrightness(0.5, seed=1)
    _, one, other = shown(plot_views(brightness, np.full((1, 8, 8, 3), 128.0), views=2))
    assert np.abs(one - other).mean() > 0.01


@pytest.mark.parametrize("channels, shape", [(1, (8, 9)), (2, (8, 9)), (3, (8, 9, 3))])
def test_an_image_is_shown_by_its_channels(channels, shape):
    figure = plot_views(AddInTraining(), np.zeros((1, 8, 9, channels)))
    assert shown(figure)[0].shape == shape


def test_the_first_three_of_many_channels_are_colors(rng):
    images = rng.integers(0, 256, (1, 8, 9, 5))
    image = shown(plot_views(AddInTraining(), images))[0]
    np.testing.assert_allclose(image * 255, images[0, ..., :3], atol=1e-3)


def test_gray_images_have_the_same_scale():
    figure = plot_views(AddInTraining(), np.zeros((1, 8, 8, 1)))
    assert {axes.images[0].get_clim() for axes in figure.axes} == {(0, 1)}


def test_the_value_range_of_the_augmenter_is_shown():
    brightness = keras.layers.RandomBrightness(0.0, value_range=(-1.0, 1.0))
    image = shown(plot_views(brightness, np.zeros((1, 4, 4, 3))))[1]
    np.testing.assert_allclose(image, 0.5)


def test_values_out_of_range_are_clipped():
    image = shown(plot_views(AddInTraining(), np.full((1, 4, 4, 3), 250)))[1]
    np.testing.assert_allclose(image, 1.0)


def test_two_augmenters_take_turns():
    figure = plot_views(TwoAugmenters(), np.zeros((3, 4, 4, 3)), views=3)
    values = [float(image.mean()) for image in shown(figure)]
    np.testing.assert_allclose(values, [0, 0.2, 0.4, 0.2] * 3, atol=1e-6)


def test_titles_say_which_of_two_augmenters_a_view_comes_from():
    figure = plot_views(TwoAugmenters(), np.zeros((1, 4, 4, 3)), views=3)
    assert [axes.get_title().replace("\n", " ") for axes in figure.axes] == [
        "original",
        "view 1 (first augmenter)",
        "view 2 (second augmenter)",
        "view 3 (first augmenter)",
    ]


def test_titles_do_not_overlap():
    figure = plot_views(TwoAugmenters(), np.zeros((1, 4, 4, 3)))
    figure.draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))


def test_the_value_range_of_the_first_of_two_augmenters_is_shown():
    augmenter = TwoAugmenters()
    augmenter.first = keras.layers.RandomBrightness(0.0, value_range=(-1.0, 1.0))
    image = shown(plot_views(augmenter, np.zeros((1, 4, 4, 3))))[1]
    np.testing.assert_allclose(image, 0.5)


def test_views_may_differ_in_size_from_the_image():
    _, view = shown(plot_views(keras.layers.Resizing(5, 7), np.zeros((1, 9, 9, 3)), views=1))
    assert view.shape == (5, 7, 3)


def test_the_augmenter_may_be_a_sequential_of_stock_layers():
    augmenter = keras.Sequential(
        [keras.layers.RandomFlip(seed=1), keras.layers.RandomRotation(0.1, seed=2)]
    )
    assert len(plot_views(augmenter, np.zeros((2, 8, 8, 3), "uint8"), views=3).axes) == 8


def test_the_figure_can_be_saved(tmp_path):
    plot_views(AddInTraining(), np.zeros((1, 8, 8, 1))).savefig(tmp_path / "views.png")
    assert (tmp_path / "views.png").stat().st_size > 0


def test_an_image_without_a_batch_axis_is_refused():
    with pytest.raises(ValueError, match=r"Received: shape=\(8, 8, 3\)"):
        plot_views(AddInTraining(), np.zeros((8, 8, 3)))


def test_zero_views_are_refused():
    with pytest.raises(ValueError, match="`views` must be a positive integer. Received: views=0"):
        plot_views(AddInTraining(), np.zeros((1, 8, 8, 3)), views=0)
