import keras
import numpy as np
import pytest

from keras_simclr.losses import NTXentLoss, contrastive_accuracy, nt_xent


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def algorithm_1(z_a, z_b, temperature):
    """Write Algorithm 1 of the paper (Chen et al. 2020) as loops."""
    count = len(z_a)
    z = np.empty((2 * count, z_a.shape[1]))
    z[0::2], z[1::2] = z_a, z_b
    s = np.empty((2 * count, 2 * count))
    for i in range(2 * count):
        for j in range(2 * count):
            s[i, j] = z[i] @ z[j] / (np.linalg.norm(z[i]) * np.linalg.norm(z[j]))

    def loss(i, j):
        others = [np.exp(s[i, k] / temperature) for k in range(2 * count) if k != i]
        return -np.log(np.exp(s[i, j] / temperature) / sum(others))

    pairs = [loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k) for k in range(count)]
    return sum(pairs) / (2 * count)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0])
def test_the_loss_is_algorithm_1_of_the_paper(rng, temperature):
    z_a, z_b = rng.normal(size=(2, 7, 5)).astype("float32")
    expected = algorithm_1(z_a.astype("float64"), z_b.astype("float64"), temperature)
    assert float(NTXentLoss(temperature)(z_a, z_b)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("case", range(6))
def test_the_loss_is_half_of_what_the_authors_report(golden, case):
    reference = golden("ntxent")
    z_a, z_b = np.split(reference[f"c{case}_hidden"], 2)
    loss = NTXentLoss(
        float(reference[f"c{case}_temperature"]), bool(reference[f"c{case}_normalize"])
    )
    assert float(loss(z_a, z_b)) == pytest.approx(float(reference[f"c{case}_loss"]) / 2, rel=1e-5)


@pytest.mark.parametrize("case", range(6))
def test_the_gradient_is_that_of_the_authors(golden, gradient, case):
    reference = golden("ntxent")
    loss = NTXentLoss(
        float(reference[f"c{case}_temperature"]), bool(reference[f"c{case}_normalize"])
    )
    found = gradient(lambda z: loss(*keras.ops.split(z, 2)), reference[f"c{case}_hidden"])
    expected = reference[f"c{case}_grad"] / 2
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("pairs", [2, 3, 64])
def test_the_loss_of_a_collapsed_model_is_the_logarithm_of_the_number_of_other_views(pairs):
    z = np.full((pairs, 16), 0.3, "float32")
    assert float(NTXentLoss(0.1)(z, z)) == pytest.approx(np.log(2 * pairs - 1), rel=1e-5)


def test_the_decoupled_loss_of_a_collapsed_model_leaves_out_the_positive():
    z = np.ones((4, 8), "float32")
    loss = NTXentLoss(decoupled=True)
    assert float(loss(z, z)) == pytest.approx(np.log(6), rel=1e-6)
    assert float(loss.of_collapsed_model(np.float32(8))) == pytest.approx(np.log(6), rel=1e-6)


def test_the_decoupled_loss_stays_finite_where_the_positive_is_far_nearer_than_all_negatives():
    z = np.repeat(np.eye(2, dtype="float32") * 2 - 1, 2, axis=1)
    value = float(NTXentLoss(0.01, decoupled=True)(z, z))
    assert value == pytest.approx(np.log(2) - 200, rel=1e-5)


def test_a_view_is_not_its_own_negative():
    z = np.eye(4, dtype="float32")  # orthogonal: 6 negatives of similarity 0, and the positive
    expected = -np.log(np.exp(1 / 0.5) / (np.exp(1 / 0.5) + 6))
    assert float(NTXentLoss(0.5)(z, z)) == pytest.approx(expected, rel=1e-5)


def test_both_views_are_anchors():
    z_a = np.array([[1, 0], [1, 0]], "float32")
    z_b = np.array([[1, 0], [0, 1]], "float32")
    # Anchors a0 and b0 see (1; 1, 0), a1 sees (0; 1, 1), b1 sees (0; 0, 0), at temperature 1.
    e = np.e
    of_first_pair = -np.log(e / (2 * e + 1))
    of_second_pair = (-np.log(1 / (2 * e + 1)) - np.log(1 / 3)) / 2
    np.testing.assert_allclose(
        numbers(nt_xent(z_a, z_b, 1.0)), [of_first_pair, of_second_pair], rtol=1e-5
    )


def test_only_the_direction_of_an_embedding_matters(rng):
    z_a, z_b = rng.normal(size=(2, 5, 3)).astype("float32")
    scale = rng.uniform(0.1, 10, size=(5, 1)).astype("float32")
    np.testing.assert_allclose(
        numbers(nt_xent(scale * z_a, z_b)), numbers(nt_xent(z_a, z_b)), rtol=1e-4
    )


def test_half_precision_embeddings_stay_finite_at_a_low_temperature(rng):
    z_a, z_b = rng.normal(size=(2, 16, 8)).astype("float16")
    losses = numbers(nt_xent(z_a, z_b, temperature=0.05))
    assert losses.dtype == np.float32
    assert np.isfinite(losses).all()


def test_the_gradient_of_equal_views_is_finite(gradient):
    z = np.ones((8, 4), "float32")
    assert np.isfinite(gradient(lambda z: NTXentLoss(0.05)(*keras.ops.split(z, 2)), z)).all()


def extreme(kind):
    z = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    if kind == "one zero":
        z[0, 1] = 0
        return z
    if kind == "one-hot":
        return np.eye(4, 6, dtype="float32")[None].repeat(2, axis=0)
    return z * np.float32(kind)


@pytest.mark.parametrize("kind", [0.0, 1e-38, 1e-30, 1e-7, 1e18, 1e30, "one zero"])
def test_the_gradient_is_finite_for_embeddings_of_any_length(kind, gradient):
    z = extreme(kind)
    value = float(NTXentLoss(0.1)(z[0], z[1]))
    slope = gradient(lambda tensor: NTXentLoss(0.1)(tensor[0], tensor[1]), z)
    assert np.isfinite(value) and np.isfinite(slope).all()


@pytest.mark.parametrize("scale", [1e-5, 1e18, 1e30])
def test_very_short_and_long_embeddings_give_the_loss_of_their_directions(scale):
    z, scaled = extreme(1.0), extreme(scale)
    expected = float(NTXentLoss(0.1)(z[0], z[1]))
    assert float(NTXentLoss(0.1)(scaled[0], scaled[1])) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_is_orthogonal_to_embeddings_along_an_axis(gradient):
    """Their largest coordinate is their length, where a maximum would halve the gradient."""
    z = extreme("one-hot") + np.float32(0)
    z[1] = np.roll(z[1], 1, axis=-1)
    slope = gradient(lambda tensor: NTXentLoss(0.5)(tensor[0], tensor[1]), z)
    step = np.float32(1e-2) * np.roll(np.eye(4, 6, dtype="float32"), 1, axis=-1)[None]
    above, below = (float(NTXentLoss(0.5)(*(z + sign * step))) for sign in (1, -1))
    np.testing.assert_allclose(np.sum(slope * z, axis=-1), 0, atol=1e-6)
    assert (slope * step).sum() == pytest.approx((above - below) / 2, rel=1e-2)


def test_embeddings_of_zero_have_the_loss_of_a_collapsed_model():
    z = np.zeros((4, 6), "float32")
    assert float(NTXentLoss(0.1)(z, z)) == pytest.approx(np.log(7), rel=1e-5)


def test_accuracy_is_1_for_the_anchors_whose_positive_is_the_nearest():
    z_a = np.array([[1, 0], [0, 1]], "float32")
    z_b = np.array([[0.9, 0.1], [0.8, 0.2]], "float32")
    # Only the last view, of similarity 0.24 to its positive, is nearer to others: 0.97 and 0.99.
    assert numbers(contrastive_accuracy(z_a, z_b)).tolist() == [1, 1, 1, 0]


def test_accuracy_of_a_collapsed_model_is_zero(rng):
    z = np.repeat(rng.normal(size=(1, 128)), 33, axis=0).astype("float32")
    assert numbers(contrastive_accuracy(z, z)).sum() == 0


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), "auto"])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="`temperature` must be positive. Received: temperature="):
        NTXentLoss(temperature)


@pytest.mark.parametrize("chunk_size", [0, -1, 2.5, True, "all"])
def test_a_chunk_size_that_is_not_a_positive_integer_is_refused(chunk_size):
    with pytest.raises(ValueError, match="`chunk_size` must be a positive integer"):
        NTXentLoss(chunk_size=chunk_size)


def test_the_loss_is_recreated_from_its_config():
    loss = NTXentLoss(0.3, normalize=False, chunk_size=7)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert (again.temperature, again.normalize, again.chunk_size) == (0.3, False, 7)
