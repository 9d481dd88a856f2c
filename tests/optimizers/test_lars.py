import contextlib

import keras
import numpy as np
import pytest

from keras_simclr.optimizers import LARS, warmup_cosine

VARIANTS = {
    "simclr": {"weight_decay": 1e-4},
    "nesterov": {"weight_decay": 1e-4, "nesterov": True},
    "popular": {"weight_decay": 1e-4, "classic_momentum": False},
    "wd0": {"weight_decay": 0.0},
}
EXECUTIONS = {
    "tensorflow": [{"run_eagerly": True}, {"jit_compile": False}, {"jit_compile": True}],
    "jax": [{"jit_compile": False}, {"jit_compile": True}],
    "torch": [{}],
}[keras.backend.backend()]


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def variable(path, value, dtype="float32"):
    *scopes, name = path.split("/")
    with contextlib.ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(keras.name_scope(scope))
        return keras.Variable(value, name=name, dtype=dtype)


def one_step(path, w, g, dtype="float32", **options):
    """Return `w` after the first step along `g`."""
    w = variable(path, w, dtype)
    LARS(**options).apply([keras.ops.convert_to_tensor(g, dtype)], [w])
    return numbers(w)


def authors_run(reference, variant, optimizer):
    """Repeat the six steps; return the values of all variables after each."""
    variables = [
        variable(str(name).removesuffix(":0"), reference[f"{variant}_init_{i}"])
        for i, name in enumerate(reference[f"{variant}_names"])
    ]
    history = []
    for step, rate in enumerate(reference[f"{variant}_learning_rates"]):
        optimizer.learning_rate = float(rate)
        gradients = [reference[f"{variant}_grads_{i}"][step] for i in range(len(variables))]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        history.append([numbers(v) for v in variables])
    return history


@pytest.mark.parametrize("variant", VARIANTS)
def test_six_steps_are_those_of_the_authors(golden, variant):
    reference = golden("lars")
    history = authors_run(reference, variant, LARS(0.1, **VARIANTS[variant]))
    assert len(history) == 6
    for step, values in enumerate(history):
        for i, found in enumerate(values):
            expected = reference[f"{variant}_params_{i}"][step]
            np.testing.assert_allclose(
                found, expected, rtol=0, atol=1e-6 * np.abs(expected).max(), err_msg=f"{step} {i}"
            )


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_momentum_after_six_steps_is_that_of_the_authors(golden, variant):
    reference = golden("lars")
    optimizer = LARS(0.1, **VARIANTS[variant])
    authors_run(reference, variant, optimizer)
    assert len(optimizer.momentums) == 9
    for i, found in enumerate(optimizer.momentums):
        expected = reference[f"{variant}_momentum_{i}"]
        np.testing.assert_allclose(
            numbers(found), expected, rtol=0, atol=1e-6 * np.abs(expected).max(), err_msg=str(i)
        )


def test_the_default_learning_rate_is_0_3():
    found = one_step("dense/bias", [3.0, 4.0], [1.0, -2.0])
    np.testing.assert_allclose(found, [2.7, 4.6], rtol=1e-6)


def test_one_step_in_closed_form():
    # g + decay * w = [0, 4] + 0.5 * [3, 4] = [1.5, 6]; ratio 0.01 * 5 / sqrt(38.25); rate 2
    found = one_step(
        "dense/kernel",
        [3.0, 4.0],
        [0.0, 4.0],
        learning_rate=2.0,
        weight_decay=0.5,
        trust_coefficient=0.01,
    )
    length = 2 * 0.01 * 5 / np.sqrt(38.25)
    np.testing.assert_allclose(found, [3 - 1.5 * length, 4 - 6 * length], rtol=1e-6)


def test_the_length_of_a_first_step_does_not_depend_on_the_gradients_length():
    options = {"learning_rate": 1.0, "weight_decay": 0.0, "trust_coefficient": 0.1}
    short, long = (
        one_step("dense/kernel", [3.0, 4.0], [0.0, size], **options) for size in (1e-3, 1e3)
    )
    np.testing.assert_allclose(short, [3.0, 3.5], rtol=1e-6)
    np.testing.assert_allclose(long, [3.0, 3.5], rtol=1e-6)


def test_a_variable_that_starts_at_zero_is_not_adapted():
    found = one_step("dense/kernel", [0.0, 0.0], [1.0, -2.0], learning_rate=0.5)
    np.testing.assert_allclose(found, [-0.5, 1.0], rtol=1e-6)


def test_a_zero_gradient_without_decay_changes_nothing():
    found = one_step("dense/kernel", [3.0, 4.0], [0.0, 0.0], learning_rate=0.5, weight_decay=0.0)
    np.testing.assert_array_equal(found, [3.0, 4.0])


@pytest.mark.parametrize(
    "path",
    [
        "dense/bias",
        "batch_normalization/gamma",
        "encoder/batch_normalization_3/beta",
        "head_supervised/linear_layer/kernel",
    ],
)
def test_biases_normalizations_and_the_supervised_head_are_excluded(path):
    found = one_step(path, [3.0, 4.0], [0.0, 2.0], learning_rate=0.5, weight_decay=0.1)
    np.testing.assert_allclose(found, [3.0, 3.0], rtol=1e-6)


def test_normalizations_of_keras_applications_are_excluded():
    model = keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None)
    layers = [layer for layer in model.layers if "BatchNorm" in type(layer).__name__]
    norms = [v for layer in layers for v in layer.trainable_variables]
    assert len(norms) == 54
    for v in norms:
        v.assign(keras.ops.full(v.shape, 3.0))
    LARS(0.5, weight_decay=0.1).apply([keras.ops.ones(v.shape) for v in norms], norms)
    for v in norms:
        np.testing.assert_allclose(numbers(v), 2.5, rtol=1e-6, err_msg=v.path)


def test_other_patterns_can_be_excluded():
    options = {"learning_rate": 0.5, "weight_decay": 0.1, "exclude": ["^stem/"]}
    plain = one_step("stem/kernel", [3.0, 4.0], [0.0, 2.0], **options)
    adapted = one_step("dense/bias", [3.0, 4.0], [0.0, 2.0], **options)
    np.testing.assert_allclose(plain, [3.0, 3.0], rtol=1e-6)
    assert np.linalg.norm(adapted - [3.0, 4.0]) == pytest.approx(0.5 * 0.001 * 5, rel=1e-3)


def test_adaptation_can_exclude_other_patterns():
    options = {"learning_rate": 1.0, "weight_decay": 0.5, "trust_coefficient": 0.1}
    found = one_step(
        "dense/bias", [3.0, 4.0], [0.0, 2.0], exclude_from_adaptation=["kernel$"], **options
    )
    np.testing.assert_allclose(found, [3.0, 3.5], rtol=1e-6)  # adapted, not decayed


def test_an_empty_list_excludes_nothing_from_adaptation():
    found = one_step(
        "dense/bias", [3.0, 4.0], [0.0, 2.0], learning_rate=1.0, exclude_from_adaptation=[]
    )
    assert np.linalg.norm(found - [3.0, 4.0]) == pytest.approx(0.001 * 5, rel=1e-3)


def test_exclude_from_weight_decay_of_keras_works():
    optimizer = LARS(1.0, weight_decay=0.5, trust_coefficient=0.1)
    optimizer.exclude_from_weight_decay(var_names=["kernel"])
    w = variable("dense/kernel", [3.0, 4.0])
    optimizer.apply([keras.ops.array([0.0, 2.0])], [w])
    np.testing.assert_allclose(numbers(w), [3.0, 3.5], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_norms_of_half_precision_variables_do_not_overflow(dtype):
    # 64 squares of 300 and of 30 overflow float16
    found = one_step(
        "dense/kernel",
        np.full(64, 30.0),
        np.full(64, 300.0),
        dtype,
        learning_rate=1.0,
        trust_coefficient=0.5,
    )
    np.testing.assert_allclose(found.astype("float32"), 15.0, rtol=1e-2)


@pytest.mark.parametrize("execution", EXECUTIONS, ids=str)
def test_fit_follows_the_formula(execution):
    inputs = np.array([[1.0, 2.0, 2.0]], "float32")  # the gradient of the output
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(
        LARS(0.5, momentum=0.8, weight_decay=0.1, trust_coefficient=0.2),
        loss=lambda y_true, y_pred: y_pred,
        **execution,
    )
    w, b, v_w, v_b = model.layers[0].kernel.numpy()[:, 0], 0.0, 0.0, 0.0
    model.fit(inputs, np.zeros((1, 1)), epochs=3, verbose=0)
    for _ in range(3):
        g = inputs[0] + 0.1 * w
        v_w = 0.8 * v_w + 0.5 * 0.2 * np.linalg.norm(w) / np.linalg.norm(g) * g
        v_b = 0.8 * v_b + 0.5 * 1.0
        w, b = w - v_w, b - v_b
    np.testing.assert_allclose(numbers(model.layers[0].kernel)[:, 0], w, rtol=1e-5)
    np.testing.assert_allclose(numbers(model.layers[0].bias), [b], rtol=1e-5)


def test_the_optimizer_is_recreated_from_its_config():
    optimizer = LARS(
        0.3,
        momentum=0.7,
        weight_decay=0.01,
        trust_coefficient=0.02,
        nesterov=True,
        classic_momentum=False,
        exclude=["bias$"],
        exclude_from_adaptation=["gamma$"],
        clipnorm=2.0,
        name="mine",
    )
    config = optimizer.get_config()
    assert LARS.from_config(config).get_config() == config
    assert config["momentum"] == 0.7
    assert config["weight_decay"] == 0.01
    assert config["trust_coefficient"] == 0.02
    assert config["nesterov"] is True
    assert config["classic_momentum"] is False
    assert config["exclude"] == ["bias$"]
    assert config["exclude_from_adaptation"] == ["gamma$"]
    assert config["clipnorm"] == 2.0


def test_a_saved_model_resumes_as_if_it_had_not_been_interrupted(rng, tmp_path):
    x, y = rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(LARS(warmup_cosine(2.0, 10, 2), trust_coefficient=0.1), loss="mse")
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert restored.optimizer.get_config() == model.optimizer.get_config()
    for each in (model, restored):
        each.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert int(restored.optimizer.iterations) == 8
    for a, b in zip(model.get_weights(), restored.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, "`momentum` must be at least 0 and below 1. Received: momentum=1.0"),
        ({"momentum": -0.1}, "`momentum` must be at least 0 and below 1. Received"),
        (
            {"weight_decay": -0.1},
            "`weight_decay` must be .* at least 0. Received: weight_decay=-0.1",
        ),
        (
            {"weight_decay": None},
            "`weight_decay` must be .* at least 0. Received: weight_decay=None",
        ),
        ({"trust_coefficient": 0.0}, "`trust_coefficient` must be positive. Received"),
        ({"exclude": "bias$"}, r"`exclude` must be a list .* Write \['bias\$'\]"),
        ({"exclude": ["("]}, "`exclude` must hold regular expressions. Received: '\\('"),
        ({"exclude_from_adaptation": "bias$"}, "`exclude_from_adaptation` must be a list"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LARS(0.1, **options)
