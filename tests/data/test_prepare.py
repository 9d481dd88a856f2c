import numpy as np
import pytest

from keras_simclr.data.batch_size import default_batch_size, sharded_batch_size
from keras_simclr.data.prepare import prepare_training_data

GOOD = np.random.default_rng(0).uniform(0, 255, size=(8, 12, 12, 3)).astype("float32")


def prepare(x, y=None, **arguments):
    return prepare_training_data(x, y, (0, 255), **arguments)


def batches(batch_size=4, images=GOOD):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(images).batch(batch_size)


@pytest.mark.parametrize(
    ("count", "size"), [(1, 1), (2, 2), (7, 4), (255, 128), (256, 256), (9999, 256)]
)
def test_the_default_batch_size_gives_at_least_one_step(count, size):
    assert default_batch_size(count) == size


def test_the_default_batch_size_on_several_devices_drops_few_images():
    assert sharded_batch_size(100, None, 8) == 96
    assert sharded_batch_size(300, 512, 8) == 296


def test_too_few_images_for_the_devices_are_refused():
    with pytest.raises(ValueError, match="at least 8 are needed"):
        sharded_batch_size(5, None, 8)


def test_an_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="The dataset is empty"):
        prepare(batches().take(0))


def test_batches_of_one_are_refused():
    with pytest.raises(ValueError, match="must have at least 2 images"):
        prepare(batches(1))


@pytest.mark.parametrize("size", [0, -1, 2.5, "4"])
def test_a_batch_size_that_is_not_a_positive_integer_is_refused(size):
    with pytest.raises(ValueError, match="batch_size"):
        prepare(GOOD, batch_size=size)


def test_a_batch_size_above_the_number_of_images_is_refused():
    with pytest.raises(ValueError, match="must not exceed the number of images.*=9 with 8"):
        prepare(GOOD, batch_size=9)


def test_a_batch_size_for_a_dataset_is_refused():
    with pytest.raises(ValueError, match="`batch_size` is only supported for arrays"):
        prepare(batches(), batch_size=4)


def test_views_passed_as_labels_are_refused():
    with pytest.raises(ValueError, match="the model creates the views"):
        prepare(GOOD, GOOD)


def test_views_in_a_dataset_are_refused():
    with pytest.raises(ValueError, match="the model creates the views"):
        prepare(batches(images=(GOOD, GOOD)))


def test_an_epoch_is_one_pass_by_default():
    assert prepare(batches()).steps_per_epoch == 2
    assert prepare(GOOD, batch_size=4).steps_per_epoch == 2


def test_a_generator_has_no_known_length():
    assert prepare(iter([GOOD, GOOD])).steps_per_epoch is None


@pytest.mark.parametrize("steps", [0, -3, 1.5])
def test_steps_that_are_not_a_positive_integer_are_refused(steps):
    with pytest.raises(ValueError, match="`steps_per_epoch` must be a positive integer"):
        prepare(GOOD, steps_per_epoch=steps)
