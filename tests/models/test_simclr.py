import keras
import numpy as np
import pytest

from keras_simclr import SimCLR, SimCLRAugmenter
from keras_simclr.layers import RandomSolarize, TwoAugmenters

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_calling_and_predict_return_float32_features(make_model, labeled_images):
    model = make_model()
    features = model.predict(labeled_images[0], verbose=0)
    assert features.shape == (24, 8) and features.dtype == np.float32
    np.testing.assert_allclose(
        features, keras.ops.convert_to_numpy(model(labeled_images[0])), rtol=1e-4, atol=1e-5
    )


def test_predict_takes_images_of_another_size(make_model, labeled_images):
    model = make_model()
    model.fit(labeled_images[0], verbose=0)
    assert model.predict(np.zeros((2, 20, 17, 3), "uint8"), verbose=0).shape == (2, 8)


@pytest.mark.every_backend
@pytest.mark.parametrize("shape", [(10, 12, 1), (9, 14, 3), (12, 12, 5)])
def test_images_of_any_size_and_number_of_channels_can_be_trained_on(shape, make_model, rng):
    images = rng.integers(0, 256, size=(8, *shape)).astype("uint8")
    assert np.isfinite(make_model().fit(images, verbose=0).history["loss"]).all()


def test_views_can_have_another_size_than_the_images(make_model, labeled_images):
    model = make_model(image_size=(8, 10))
    model.fit(labeled_images[0], verbose=0)
    assert tuple(model.augmenter(labeled_images[0]).shape) == (24, 8, 10, 3)


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    "stock",
    [
        lambda: keras.Sequential(
            [
                keras.layers.RandomFlip("horizontal", seed=1),
                keras.layers.RandomContrast(0.5, seed=2),
            ]
        ),
        lambda: keras.layers.Pipeline(
            [keras.layers.RandomFlip("vertical", seed=1), keras.layers.RandomErasing(seed=2)]
        ),
        lambda: keras.layers.RandomBrightness(0.3, seed=4),
    ],
    ids=["Sequential", "Pipeline", "layer"],
)
def test_keras_layers_can_be_the_augmenter(stock, make_model, labeled_images):
    model = make_model(augmenter=stock())
    model.compile(keras.optimizers.SGD(0.0))
    history = model.fit(labeled_images[0], epochs=2, shuffle=False, verbose=0).history
    assert history["loss"][0] != history["loss"][1]


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_each_view_may_have_its_own_augmenter(make_model, labeled_images, tmp_path):
    two = (SimCLRAugmenter(8, seed=1), SimCLRAugmenter(8, custom=[RandomSolarize(1.0)], seed=2))
    model = make_model(augmenter=two)
    model.compile(keras.optimizers.SGD(0.0))
    history = model.fit(labeled_images[0], epochs=2, shuffle=False, verbose=0).history
    assert history["loss"][0] != history["loss"][1]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.augmenter.first.image_size == (8, 8)
    assert isinstance(again.augmenter.second.custom[0], RandomSolarize)
    assert np.isfinite(
        again.fine_tune(*labeled_images, epochs=1, verbose=0).predict(labeled_images[0])
    ).all()


def test_the_error_of_an_unbuilt_model_says_how_to_build_it(make_model):
    with pytest.raises(ValueError, match="must be built first.*model.build"):
        make_model().encoder  # noqa: B018


def test_the_error_for_an_unknown_backbone_lists_the_known_ones():
    with pytest.raises(ValueError, match="resnet18.*resnet200"):
        SimCLR("resnet51")


@pytest.mark.parametrize("temperature", [0, -0.1])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        SimCLR("resnet18", temperature=temperature)


@pytest.mark.usefixtures("compiled")
def test_an_augmenter_that_cannot_be_compiled_warns(make_model, labeled_images):
    model = make_model(augmenter=keras.layers.RandomRotation(0.1, seed=1))
    with pytest.warns(UserWarning, match="random_rotation.*cannot be compiled"):
        model.fit(labeled_images[0], verbose=0)


@pytest.mark.parametrize("num_views", [1, 0, -2, 2.5, "two", None])
def test_fewer_than_two_views_are_refused(num_views):
    with pytest.raises(ValueError, match="`num_views` must be"):
        SimCLR("resnet18", num_views=num_views)


@pytest.mark.parametrize("size", [0, 1, -4, 2.5, "16"])
def test_a_micro_batch_that_is_too_small_is_refused(size):
    with pytest.raises(ValueError, match="`micro_batch_size` must be an integer of at least 2"):
        SimCLR("resnet18", micro_batch_size=size)


@pytest.mark.every_backend
def test_the_dtype_policy_reaches_the_encoder_and_the_head_that_are_created():
    model = SimCLR("resnet18", dtype="mixed_bfloat16", seed=0)
    model.build((None, 16, 16, 3))
    assert model.encoder.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert model.projection_head.stack[0].compute_dtype == "bfloat16"
    assert model.predict(np.zeros((2, 16, 16, 3), "uint8"), verbose=0).dtype == np.float32
    assert keras.config.dtype_policy().name == "float32"


def test_the_global_seed_repeats_a_model_without_a_seed(backbone):
    seeds = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        seeds.append(SimCLR("resnet18").seed)
    assert seeds[0] == seeds[1] != SimCLR("resnet18").seed


def test_a_drawn_seed_is_saved_in_the_config():
    model = SimCLR("resnet18")
    assert SimCLR.from_config(model.get_config()).seed == model.seed


@pytest.mark.every_backend
def test_building_leaves_the_random_generators_alone(make_model):
    import random

    model = make_model()
    random.seed(3), np.random.seed(3)
    expected = random.random(), np.random.random()
    random.seed(3), np.random.seed(3)
    model.build((None, 12, 12, 3))
    assert (random.random(), np.random.random()) == expected


def test_an_augmenter_inherits_the_value_range_of_the_model(make_model, rng):
    model = make_model(value_range=(0, 10000), augmenter=SimCLRAugmenter(seed=0))
    images = (rng.random((16, 12, 12, 13)) * 10000).astype("float32")
    model.fit(images, verbose=0)
    assert model.augmenter.value_range == (0, 10000)
    views = keras.ops.convert_to_numpy(model.augmenter(images, training=False))
    np.testing.assert_allclose(views, images, rtol=1e-3, atol=1)


def test_an_augmenter_with_another_value_range_is_refused(make_model, labeled_images):
    model = make_model(augmenter=SimCLRAugmenter(value_range=(0, 1), seed=0))
    with pytest.raises(ValueError, match="value_range"):
        model.fit(labeled_images[0])


def test_keras_layers_with_another_value_range_are_refused(make_model, labeled_images):
    bright = keras.layers.RandomBrightness(0.2, value_range=(0, 1), seed=1)
    with pytest.raises(ValueError, match="value_range"):
        make_model(augmenter=bright).fit(labeled_images[0])


def test_an_augmenter_with_another_size_is_refused(make_model, labeled_images):
    model = make_model(augmenter=SimCLRAugmenter(8, seed=0), image_size=10)
    with pytest.raises(ValueError, match="image_size"):
        model.fit(labeled_images[0])


def test_the_size_of_the_views_is_that_of_the_augmenter(make_model):
    model = make_model(augmenter=SimCLRAugmenter(32, seed=0))
    model.build((None, 96, 96, 3))
    assert model.temperature == 0.5  # the recipe for small views


def test_an_augmenter_that_drops_channels_is_refused(make_model, labeled_images):
    drops = keras.Sequential([keras.layers.Lambda(lambda images: images[..., :1])])
    with pytest.raises(ValueError, match="as many channels as the images. Received"):
        make_model(augmenter=drops).fit(labeled_images[0])


@pytest.mark.every_backend
def test_layers_of_this_package_are_channels_last_regardless_of_the_global_setting(labeled_images):
    keras.config.set_image_data_format("channels_first")
    try:
        model = SimCLR("resnet18", seed=0)
        model.build((None, 12, 10, 3))
        assert model.encoder.output_shape == (None, 512)
        found = model.predict(labeled_images[0][:2], verbose=0)
    finally:
        keras.config.set_image_data_format("channels_last")
    plain = SimCLR("resnet18", seed=0)
    plain.build((None, 12, 10, 3))
    np.testing.assert_array_equal(found, plain.predict(labeled_images[0][:2], verbose=0))


@pytest.mark.parametrize("part", ["augmenter", "backbone"])
def test_channels_first_layers_are_refused(part, make_model, labeled_images):
    if part == "augmenter":
        flip = keras.layers.RandomFlip(seed=1, data_format="channels_first")
        model = make_model(augmenter=flip)
    else:
        convolution = keras.layers.Conv2D(4, 3, data_format="channels_first")
        model = SimCLR(keras.Sequential([convolution]), seed=0)
    with pytest.raises(ValueError, match="channels_last"):
        model.fit(labeled_images[0])


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_the_default_float_type_does_not_change_training(dtype, make_model, labeled_images):
    if dtype == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless asked for")
    model = make_model()
    model.compile(keras.optimizers.SGD(0.0))
    expected = model.fit(labeled_images[0], verbose=0).history["loss"]
    keras.config.set_floatx(dtype)
    try:
        model = make_model()
        model.compile(keras.optimizers.SGD(0.0))
        found = model.fit(labeled_images[0], verbose=0).history["loss"]
        features = model.predict(labeled_images[0], verbose=0)
    finally:
        keras.config.set_floatx("float32")
    assert found == pytest.approx(expected, rel=0.05)
    assert features.dtype == np.float32


@pytest.mark.parametrize("count", [1, 3])
def test_augmenters_that_are_no_pair_are_refused(count):
    augmenters = [keras.layers.RandomFlip(seed=number) for number in range(count)]
    with pytest.raises(ValueError, match="a layer or a pair of layers"):
        SimCLR("resnet18", augmenter=augmenters)


def test_a_pair_of_augmenters_for_another_number_of_views_is_refused():
    pair = TwoAugmenters(*(keras.layers.RandomFlip(seed=number) for number in range(2)))
    with pytest.raises(ValueError, match="create `num_views` views"):
        SimCLR("resnet18", augmenter=pair, num_views=3)
