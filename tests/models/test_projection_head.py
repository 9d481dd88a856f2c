import keras
import numpy as np
import pytest

from keras_simclr import ProjectionHead


def built(**arguments):
    head = ProjectionHead(**{"hidden_dim": 6, **arguments})
    head.build((None, 6))
    return head


@pytest.mark.parametrize(("width", "hidden"), [(6, 512), (512, 512), (600, 600)])
def test_the_first_papers_head_is_as_wide_as_h_or_512_with_128_out(width, hidden):
    head = ProjectionHead()
    head.build((None, width))
    shapes = [tuple(w.shape) for w in head.trainable_weights]
    assert shapes == [(width, hidden), (hidden,), (hidden,), (hidden, 128), (128,)]  # no last beta


def test_the_second_papers_head_has_three_layers():
    head = built(num_layers=3, hidden_dim=5, output_dim=4)
    kernels = [tuple(w.shape) for w in head.trainable_weights if len(w.shape) == 2]
    assert kernels == [(6, 5), (5, 5), (5, 4)]


def test_without_batch_norm_the_dense_layers_have_biases():
    shapes = [tuple(w.shape) for w in built(batch_norm=False, output_dim=4).trainable_weights]
    assert shapes == [(6, 6), (6,), (6, 4), (4,)]


def test_it_computes_dense_relu_dense(rng):
    head = built(batch_norm=False, output_dim=2)
    h = rng.normal(size=(3, 6)).astype("float32")
    k0, b0, k1, b1 = (np.array(w) for w in head.get_weights())
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(head(h)),
        np.maximum(h @ k0 + b0, 0) @ k1 + b1,
        rtol=1e-4,
        atol=1e-5,
    )


def test_training_normalizes_over_the_batch(rng):
    z = keras.ops.convert_to_numpy(
        built()(rng.normal(size=(64, 6)).astype("float32"), training=True)
    )
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(0), 1, atol=1e-2)


@pytest.mark.parametrize("argument", ["output_dim", "num_layers", "hidden_dim"])
def test_a_size_that_is_not_positive_is_refused(argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be a positive integer. Received"):
        ProjectionHead(**{argument: 0})
