"""Wrong input gets an error that says what was received and what to do, before any training."""

import numpy as np
import pytest

GOOD = np.random.default_rng(0).uniform(0, 255, size=(8, 12, 12, 3)).astype("float32")


def with_value(value):
    images = GOOD.copy()
    images[5, 2, 3, 1] = value
    return images


BAD = {
    "in 0..1": (GOOD / 255, "value_range=.0, 1."),
    "above the range": (GOOD * 300, "outside of the range"),
    "normalised by mean and deviation": ((GOOD - 128) / 60, "outside of the range"),
    "not a number": (with_value(np.nan), "NaN or infinity in picture 5"),
    "infinite": (with_value(np.inf), "NaN or infinity in picture 5"),
    "none": (GOOD[:0], "There are no pictures"),
    "a single one": (GOOD[:1], "at least 2 pictures"),
    "without channels": (GOOD[..., 0], "images\\[..., None\\]"),
    "two views each": (np.stack([GOOD, GOOD]), "views are made by the model"),
    "channels first": (GOOD.transpose(0, 3, 1, 2), "transpose\\(0, 2, 3, 1\\)"),
    "text": (np.full((8, 12, 12, 3), "a"), "integers or floats"),
    "a file name": ("pictures.npy", "must be an array, a tensor, or a dataset"),
    "a tuple": ((GOOD, GOOD), "must be an array, a tensor, or a dataset"),
    "too small": (GOOD[:, :1], "at least"),
}


@pytest.mark.parametrize("case", BAD)
def test_pictures_are_refused_that_are(case, make_model):
    images, message = BAD[case]
    model = make_model()
    with pytest.raises(ValueError, match=message):
        model.fit(images)
    assert not model.pretrained


def test_pictures_in_0_255_are_refused_where_0_1_was_promised(make_model):
    with pytest.raises(ValueError, match="outside of the range"):
        make_model(value_range=(0, 1)).fit(GOOD)


def test_a_dataset_is_looked_at_too(make_model):
    import tensorflow as tf

    with pytest.raises(ValueError, match="value_range=.0, 1."):
        make_model().fit(tf.data.Dataset.from_tensor_slices(GOOD / 255).batch(4))


def test_an_empty_dataset_is_refused(make_model):
    import tensorflow as tf

    with pytest.raises(ValueError, match="The dataset is empty"):
        make_model().fit(tf.data.Dataset.from_tensor_slices(GOOD).take(0).batch(4))


def test_batches_of_one_are_refused(make_model):
    import tensorflow as tf

    with pytest.raises(ValueError, match="at least 2 pictures"):
        make_model().fit(tf.data.Dataset.from_tensor_slices(GOOD).batch(1))


def test_an_unbatched_dataset_is_told_to_batch(make_model):
    import tensorflow as tf

    with pytest.raises(ValueError, match="Batch the dataset"):
        make_model().fit(tf.data.Dataset.from_tensor_slices(GOOD))


def test_batches_with_names_are_refused(make_model):
    import tensorflow as tf

    with pytest.raises(ValueError, match="a dict with the keys"):
        make_model().fit(tf.data.Dataset.from_tensor_slices({"image": GOOD}).batch(4))


def test_a_dataset_of_unknown_length_asks_for_the_steps(make_model):
    with pytest.raises(ValueError, match="`steps_per_epoch`"):
        make_model().fit(iter([GOOD, GOOD]))


def test_a_batch_size_above_the_number_of_pictures_is_refused(make_model):
    with pytest.raises(ValueError, match="batch_size=9 with 8 pictures"):
        make_model().fit(GOOD, batch_size=9)


def test_views_handed_in_as_labels_are_refused(make_model):
    with pytest.raises(ValueError, match="views are made by the model"):
        make_model().fit(GOOD, GOOD)


def test_views_in_a_dataset_are_refused(make_model):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((GOOD, GOOD)).batch(4)
    with pytest.raises(ValueError, match="views are made by the model"):
        make_model().fit(data)


def test_bad_validation_pictures_are_refused_before_training(make_model):
    model = make_model()
    with pytest.raises(ValueError, match="value_range"):
        model.fit(GOOD, validation_data=GOOD / 255)
    assert not model.pretrained


def test_validation_split_needs_arrays(make_model):
    with pytest.raises(ValueError, match="`validation_split`"):
        make_model().fit(iter([GOOD]), validation_split=0.5)
