"""The same inputs give the same results on TensorFlow, JAX and PyTorch."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

PROGRAM = """
import sys
import keras, numpy as np
from keras import layers, ops
from keras_simclr import NTXentLoss, ProjectionHead, SimCLRAugmenter

def gradient(function, arrays):
    backend = keras.backend.backend()
    if backend == "jax":
        import jax
        return jax.grad(function)(arrays)
    tensors = [ops.convert_to_tensor(a) for a in arrays]
    if backend == "tensorflow":
        import tensorflow as tf
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(tensors)
        return tape.gradient(value, tensors)
    for t in tensors:
        t.requires_grad_()
    function(tensors).backward()
    return [t.grad for t in tensors]

given = np.load(sys.argv[1])
images = given["images"]
augmenter = SimCLRAugmenter(image_size=(24, 20), strength=1.0, blur=0.5)
augmenter(images)
tree = augmenter.sample(len(images), *images.shape[1:3])
flat = keras.tree.flatten(tree)
path = sys.argv[2]
if len(sys.argv) > 3:  # the one whose draws all use
    np.savez(sys.argv[3], *[ops.convert_to_numpy(t) for t in flat])
    drawn = sys.argv[3]
else:
    drawn = path + "/drawn.npz"
parameters = np.load(drawn)
parameters = keras.tree.pack_sequence_as(tree, [parameters[f"arr_{i}"] for i in range(len(flat))])
views = ops.convert_to_numpy(augmenter.apply(images, parameters))

inputs = keras.Input((24, 20, 3))
h = layers.Conv2D(8, 3, use_bias=False)(inputs)
h = layers.Activation("tanh")(layers.BatchNormalization()(h))
h = layers.GlobalAveragePooling2D()(h)
z = layers.Dense(6)(h)
network = keras.Model(inputs, z)
rng = np.random.default_rng(1)
network.set_weights([rng.normal(scale=0.3, size=w.shape) for w in network.get_weights()])
trainable = [ops.convert_to_numpy(v) for v in network.trainable_variables]
other = [ops.convert_to_numpy(v) for v in network.non_trainable_variables]

def loss(values):
    z, _ = network.stateless_call(values, other, given["views"] / 255, training=True)
    return NTXentLoss(0.2)(*ops.split(z, 2))

dz = gradient(lambda z: NTXentLoss(0.1)(*ops.split(z[0], 2)), [given["z"]])[0]
gradients = gradient(loss, trainable)
np.savez(
    f"{path}/{keras.backend.backend()}.npz",
    views=views,
    loss=ops.convert_to_numpy(NTXentLoss(0.1)(*ops.split(given["z"], 2))),
    dz=ops.convert_to_numpy(dz),
    **{f"gradient_{i}": ops.convert_to_numpy(g) for i, g in enumerate(gradients)},
)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compares all three backends, once")
    folder = tmp_path_factory.mktemp("agree")
    rng = np.random.default_rng(0)
    np.savez(
        folder / "given.npz",
        images=rng.integers(0, 256, (6, 30, 26, 3)).astype("uint8"),
        # Different colors: equal embeddings would leave only rounding errors in the gradients.
        views=(rng.uniform(0, 200, (8, 1, 1, 3)) + rng.uniform(0, 55, (8, 24, 20, 3))).astype(
            "float32"
        ),
        z=rng.normal(size=(12, 16)).astype("float32"),
    )
    found = {}
    for backend in ("jax", "tensorflow", "torch"):
        extra = [str(folder / "drawn.npz")] if backend == "jax" else []
        command = [sys.executable, "-c", PROGRAM, str(folder / "given.npz"), str(folder), *extra]
        environment = {"KERAS_BACKEND": backend, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
        subprocess.run(command, check=True, env={**os.environ, **environment})
        found[backend] = np.load(folder / f"{backend}.npz")
    return found


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_parameters_give_the_same_views(backend, results):
    difference = np.abs(results[backend]["views"] - results["tensorflow"]["views"])
    assert difference.max() < 1e-5 * 255


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_embeddings_give_the_same_loss_and_gradient(backend, results):
    one, other = results[backend], results["tensorflow"]
    np.testing.assert_allclose(one["loss"], other["loss"], rtol=1e-5)
    np.testing.assert_allclose(one["dz"], other["dz"], atol=1e-5 * np.abs(other["dz"]).max())


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_every_variables_gradient_agrees(backend, results):
    one, other = results[backend], results["tensorflow"]
    for name in other.files:
        if name.startswith("gradient"):
            bound = 1e-3 * np.abs(other[name]).max()
            np.testing.assert_allclose(one[name], other[name], atol=bound, err_msg=name)
