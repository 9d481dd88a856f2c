import keras
import numpy as np
import pytest

from keras_simclr import SimCLR

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]


def weights(model):
    return [np.array(w) for w in model.get_weights()]


def assert_equal_weights(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.every_backend
def test_a_loaded_model_returns_the_same_features(make_model, labeled_images, tmp_path):
    model = make_model()
    model.fit(labeled_images[0], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(labeled_images[0], verbose=0), model.predict(labeled_images[0], verbose=0)
    )
    assert loaded.pretrained


@pytest.mark.every_backend
@pytest.mark.parametrize("mixed", [False, True])
def test_what_was_compiled_is_saved_for_every_backend(mixed, pretrained, labeled_images):
    scaled = keras.optimizers.LossScaleOptimizer
    pretrained.compile(scaled(keras.optimizers.AdamW()) if mixed else keras.optimizers.AdamW())
    classifier = pretrained.fine_tune(*labeled_images, epochs=0, optimizer="sgd", verbose=0)
    for model in (pretrained, classifier):
        config = model.get_compile_config()
        assert config["jit_compile"] == "auto"
        optimizer = config["optimizer"]
        inner = optimizer["config"].get("inner_optimizer", optimizer)
        assert (optimizer["module"], inner["module"]) == ("keras.optimizers", "keras.optimizers")


def test_a_named_backbone_is_restored(tmp_path):
    model = SimCLR("resnet18", seed=2)
    model.build((None, 16, 16, 3))
    model.save(tmp_path / "model.keras")
    assert_equal_weights(keras.models.load_model(tmp_path / "model.keras"), model)


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_a_traced_callable_is_restored(labeled_images, tmp_path):
    convolution = keras.layers.Conv2D(4, 3)
    model = SimCLR(lambda images: keras.ops.relu(convolution(images / 255.0)), seed=2)
    model.fit(labeled_images[0], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(labeled_images[0], verbose=0), model.predict(labeled_images[0], verbose=0)
    )


def test_weights_alone_are_saved_and_loaded(make_model, labeled_images, tmp_path):
    model, other = make_model(), make_model(seed=9)
    model.fit(labeled_images[0], verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    other.build((None, 12, 12, 3))
    other.load_weights(tmp_path / "model.weights.h5")
    assert_equal_weights(model, other)


def test_the_encoder_can_be_saved_alone(make_model, labeled_images, tmp_path):
    model = make_model()
    model.fit(labeled_images[0], verbose=0)
    model.encoder.save(tmp_path / "encoder.keras")
    encoder = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_allclose(
        encoder.predict(labeled_images[0], verbose=0),
        model.predict(labeled_images[0], verbose=0),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.every_backend
@pytest.mark.usefixtures("compiled")
def test_a_saved_run_resumes_as_if_it_had_not_stopped(make_model, labeled_images, tmp_path):
    straight = make_model()
    straight.fit(labeled_images[0], epochs=4, batch_size=8, verbose=0)

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    stopped = make_model()
    stopped.fit(labeled_images[0], epochs=4, batch_size=8, verbose=0, callbacks=[Stop()])
    stopped.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.fit(labeled_images[0], epochs=4, initial_epoch=2, batch_size=8, verbose=0)
    assert_equal_weights(straight, loaded)


@pytest.mark.usefixtures("compiled")
def test_a_saved_run_in_half_precision_resumes(make_model, labeled_images, tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make_model()
        model.fit(labeled_images[0], epochs=2, batch_size=8, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        for each in (model, loaded):
            each.fit(labeled_images[0], epochs=4, initial_epoch=2, batch_size=8, verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert_equal_weights(model, loaded)


def test_frozen_layers_are_still_frozen_when_loaded(make_model, labeled_images, tmp_path):
    model = make_model()
    model.backbone.layers[1].trainable = False
    model.fit(labeled_images[0], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert not loaded.backbone.layers[1].trainable and loaded.backbone.layers[2].trainable
    frozen = np.array(loaded.backbone.layers[1].kernel)
    loaded.fit(labeled_images[0], verbose=0)
    np.testing.assert_array_equal(loaded.backbone.layers[1].kernel, frozen)
