"""Wrong images get an error that says what was received and what to do, before any training."""

import keras
import numpy as np
import pytest

from keras_simclr.data.image_checks import check_images

pytestmark = pytest.mark.once

GOOD = np.random.default_rng(0).uniform(0, 255, size=(8, 12, 12, 3)).astype("float32")


def with_value(value):
    images = GOOD.copy()
    images[5, 2, 3, 1] = value
    return images


BAD = {
    "in 0..1": (GOOD / 255, "value_range=.0, 1."),
    "above the range": (GOOD * 300, "outside the range"),
    "standardized": ((GOOD - 128) / 60, "outside the range"),
    "not a number": (with_value(np.nan), "NaN or infinity in image 5"),
    "infinite": (with_value(np.inf), "NaN or infinity in image 5"),
    "none": (GOOD[:0], "at least one image"),
    "a single one": (GOOD[:1], "at least 2 images"),
    "without channels": (
        GOOD[..., 0],
        "must have shape \\(N, height, width, channels\\).*images\\[..., None\\]",
    ),
    "flat rows": (GOOD.reshape(8, -1), "reshape\\(-1, height, width, channels\\)"),
    "of different sizes": (np.array([GOOD[0], GOOD[1, :6]], dtype=object), "np.stack"),
    "two views each": (np.stack([GOOD, GOOD]), "the model creates the views"),
    "channels first": (GOOD.transpose(0, 3, 1, 2), "transpose\\(0, 2, 3, 1\\)"),
    "text": (np.full((8, 12, 12, 3), "a"), "integers or floats"),
    "a file name": ("images.npy", "must be an array, a tensor, or a dataset"),
    "a tuple": ((GOOD, GOOD), "must be an array, a tensor, or a dataset"),
    "too small": (GOOD[:, :1], "at least"),
    "of 16 bits": (GOOD.astype("uint16") * 200, "outside the range"),
    "of 64 bits": (GOOD.astype("int64") * 200, "outside the range"),
    "negative integers": (GOOD.astype("int16") - 500, "outside the range"),
    "zeros and ones": ((GOOD > 99).astype("uint8"), "value_range=.0, 1."),
}


@pytest.mark.every_backend
@pytest.mark.parametrize("case", BAD)
def test_fit_refuses_images_that_are(case, make_model):
    images, message = BAD[case]
    model = make_model()
    with pytest.raises(ValueError, match=message):
        model.fit(images)
    assert not model.pretrained


@pytest.mark.parametrize("method", ["predict", "evaluate", "fine_tune", "validation"])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_values_out_of_range_are_refused_by(method, dtype, make_model):
    images = (GOOD * 250).astype(dtype)
    model = make_model()
    calls = {
        "predict": lambda: model.predict(images),
        "evaluate": lambda: model.evaluate(images),
        "fine_tune": lambda: model.fine_tune(images, np.arange(8) % 2),
        "validation": lambda: model.fit(GOOD, validation_data=images),
    }
    with pytest.raises(ValueError, match="outside the range"):
        calls[method]()


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "method",
    ["predict", "evaluate", "fit", "fine_tune", "validation", "fine_tune_validation"],
)
@pytest.mark.parametrize(
    ("channels", "cure"), [(1, "np.repeat"), (4, "alpha"), (2, "create a new model")]
)
def test_images_with_other_channels_than_the_model_takes_are_refused_by(
    method, channels, cure, make_model
):
    images, labels = np.repeat(GOOD[..., :1], channels, axis=-1), np.arange(8) % 2
    model = make_model()
    model.build((None, 12, 12, 3))
    calls = {
        "validation": lambda: model.fit(GOOD, validation_data=images),
        "fine_tune": lambda: model.fine_tune(images, labels),
        "fine_tune_validation": lambda: model.fine_tune(
            GOOD, labels, validation_data=(images, labels)
        ),
    }
    message = rf"takes images with 3 channels\. Received: .*{channels}\)\. .*{cure}"
    with pytest.raises(ValueError, match=message):
        calls.get(method, lambda: getattr(model, method)(images))()
    assert not model.pretrained


def test_wide_integers_in_their_value_range_can_be_trained_on(make_model):
    model = make_model(value_range=(0, 65535))
    history = model.fit((GOOD * 257).astype("uint16"), verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_images_in_0_255_are_refused_if_the_value_range_is_0_1(make_model):
    for images in (GOOD, GOOD.astype("uint8")):
        with pytest.raises(ValueError, match="outside the range"):
            make_model(value_range=(0, 1)).fit(images)


@pytest.mark.parametrize("shape", [(13, 64, 64), (4, 64, 80), (3, 32, 32), (1, 28, 28)])
def test_channels_first_are_recognized_in(shape):
    with pytest.raises(ValueError, match="channels first"):
        check_images(np.full((2, *shape), 9, "uint8"), (0, 255))


@pytest.mark.parametrize("shape", [(9, 9, 200), (8, 20, 100), (12, 12, 13), (4, 9, 3), (3, 3, 3)])
def test_channels_last_are_accepted_in(shape):
    check_images(np.full((2, *shape), 9, "uint8"), (0, 255))


def test_all_black_images_are_accepted():
    check_images(np.zeros((2, 8, 8, 1), "uint8"), (0, 255))


def test_a_single_bright_image_at_the_end_shows_the_range():
    images = np.zeros((3000, 2, 2, 1), "uint8")
    images[0, 0, 0, 0], images[-1] = 1, 200
    check_images(images, (0, 255))


def test_datasets_are_checked_too(make_model):
    import tensorflow as tf

    with pytest.raises(ValueError, match="value_range=.0, 1."):
        make_model().fit(tf.data.Dataset.from_tensor_slices(GOOD / 255).batch(4))


def test_the_error_for_an_unbatched_dataset_says_to_batch_it(make_model):
    import tensorflow as tf

    with pytest.raises(ValueError, match="Batch the dataset"):
        make_model().fit(tf.data.Dataset.from_tensor_slices(GOOD))


@pytest.mark.every_backend
def test_images_of_the_other_byte_order_can_be_trained_on(make_model):
    losses = [
        make_model(value_range=(0, 1)).fit((GOOD / 255).astype(dtype), verbose=0).history["loss"]
        for dtype in (">f4", "<f4")
    ]
    assert losses[0] == losses[1]


def test_features_do_not_depend_on_the_byte_order(make_model):
    model = make_model()
    features = [model.predict(GOOD.astype(dtype), verbose=0) for dtype in (">f4", "<f4")]
    np.testing.assert_array_equal(*features)
    assert keras.backend.is_float_dtype(features[0].dtype.name)
