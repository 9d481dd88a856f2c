import keras
import numpy as np
import pytest

from keras_simclr.optimizers import ConvMuon

BIAS = {"name": "bias", "value": np.array([3.0, -4.0], "float32")}


def after_steps(optimizer, value, gradients, name="kernel", dtype="float32"):
    """Return a variable after one step along each gradient."""
    variable = keras.Variable(value, name=name, dtype=dtype)
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient, dtype)], [variable])
    return keras.ops.convert_to_numpy(variable)


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (1, 1, 4, 16), (5, 2, 6), (6, 3)])
def test_the_first_step_is_orthogonal_and_as_large_as_one_of_adam(shape, rng):
    gradient = rng.normal(size=shape)
    step = -after_steps(ConvMuon(0.5, weight_decay=0.0), np.zeros(shape), [gradient])
    matrix = step.reshape(-1, shape[-1])
    left, _, right = np.linalg.svd(gradient.reshape(matrix.shape), full_matrices=False)
    sizes = left.T @ matrix @ right.T / (0.5 * 0.2 * np.sqrt(max(matrix.shape)))
    assert 0.6 < np.diag(sizes).min() and np.diag(sizes).max() < 1.3  # it is not exact
    np.testing.assert_allclose(sizes, np.diag(np.diag(sizes)), atol=1e-3)


def test_a_kernel_moves_as_its_matrix_does_in_keras(rng):
    value, gradients = rng.normal(size=(3, 3, 2, 5)), rng.normal(size=(4, 3, 3, 2, 5))
    options = {"learning_rate": 0.1, "weight_decay": 0.3, "momentum": 0.8}
    found = after_steps(ConvMuon(**options), value, gradients)
    matrices = gradients.reshape(4, 18, 5)
    expected = after_steps(keras.optimizers.Muon(**options), value.reshape(18, 5), matrices)
    np.testing.assert_allclose(found.reshape(18, 5), expected, rtol=1e-4, atol=1e-5)


def test_biases_move_as_in_adamw(rng):
    gradients = rng.normal(size=(4, 2))
    found = after_steps(ConvMuon(0.1, adam_weight_decay=0.3), gradients=gradients, **BIAS)
    expected = after_steps(
        keras.optimizers.AdamW(0.1, weight_decay=0.3), gradients=gradients, **BIAS
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_excluded_layers_move_as_in_adamw(rng):
    value, gradients = rng.normal(size=(1, 1, 2, 3)), rng.normal(size=(2, 1, 1, 2, 3))
    options = {"learning_rate": 0.1, "weight_decay": 0.3}
    excluding = ConvMuon(**options, adam_weight_decay=0.3, exclude_layers=["^ker"])
    found = after_steps(excluding, value, gradients)
    expected = after_steps(keras.optimizers.AdamW(**options), value, gradients)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_zero_gradient_changes_nothing():
    value = np.ones((1, 1, 2, 2), "float32")
    found = after_steps(ConvMuon(0.1, weight_decay=0.0), value, [np.zeros((1, 1, 2, 2))])
    np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_norm_of_a_half_precision_kernel_does_not_overflow(dtype):
    gradient = np.full((1, 1, 8, 8), 300.0)  # 64 squares overflow float16
    options = {"weight_decay": 0.0, "rms_rate": None}
    step = after_steps(ConvMuon(1.0, **options), np.zeros((1, 1, 8, 8)), [gradient], dtype=dtype)
    np.testing.assert_allclose(step.astype("float32"), -0.125, rtol=0.4)


def test_it_comes_back_from_its_config():
    optimizer = ConvMuon(0.1, momentum=0.5, exclude_layers=["stem"], name="mine")
    config = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, ConvMuon) and again.get_config() == optimizer.get_config()


@pytest.mark.parametrize("options", [{"jit_compile": False}, {"jit_compile": True}], ids=str)
def test_compiled_steps_equal_eager_ones(options, rng):
    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch runs eagerly.")
    x, y = rng.normal(size=(8, 6, 6, 2)), rng.normal(size=(8, 3))

    def trained(**options):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.Flatten()])
        model.add(keras.layers.Dense(3))
        model.compile(ConvMuon(0.01, weight_decay=0.1), "mse", **options)
        model.fit(x, y, epochs=3, verbose=0)
        return model.get_weights()

    for found, expected in zip(trained(**options), trained(run_eagerly=True), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
