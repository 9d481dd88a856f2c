"""The form for GPUs, compiled and run on the CPU: the same numbers, and nothing that waits."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_simclr import NTXentLoss, SimCLRAugmenter
from keras_simclr.layers import (
    RandomColorDistortion,
    RandomGaussianBlur,
    RandomResizedCrop,
    RandomRotate90,
    RandomSolarize,
)
from keras_simclr.layers.views import draw_views
from keras_simclr.ops.compilation import compile_function
from keras_simclr.ops.forms import form

WAITING = {
    "jax": ("stablehlo.while", "stablehlo.case", "stablehlo.if", "callback"),
    "tensorflow": ("While", "If", "Case", "PyFunc", "Switch", "Loop"),
}
MAKE = {
    "augmenter": lambda: SimCLRAugmenter(24, strength=1.0, blur=0.5, seed=1),
    "custom": lambda: SimCLRAugmenter(
        custom=[RandomSolarize(0.5, seed=2), RandomRotate90(seed=3)], seed=1
    ),
    "color distortion": lambda: RandomColorDistortion(seed=1),
    "blur": lambda: RandomGaussianBlur(kernel_size=5, seed=1),
    "crop": lambda: RandomResizedCrop(20, antialias=True, seed=1),
}


@pytest.fixture
def images(rng):
    coarse = rng.integers(0, 256, (21, 12, 12, 3))
    return coarse.repeat(3, axis=1).repeat(3, axis=2).astype("uint8")


def step(augmenter, weights, images):
    """Return the loss of a linear network on two views of each image."""
    views = draw_views(augmenter, images, 3, num_views=2)
    z = ops.matmul(ops.reshape(views, (2 * len(images), -1)) / 255, weights)
    return NTXentLoss(0.5).with_accuracy(*ops.split(z, 2))[0]


@pytest.mark.parametrize("kind", MAKE)
def test_views_in_both_forms_are_the_same(kind, images):
    drawn = {}
    for device in ("cpu", "gpu"):
        with form(device):
            augmenter = MAKE[kind]()
            draw = compile_function(lambda x, a=augmenter: draw_views(a, x, 3, num_views=2))
            drawn[device] = ops.convert_to_numpy(draw(ops.convert_to_tensor(images)))
    assert drawn["cpu"].std() > 10
    np.testing.assert_allclose(drawn["gpu"], drawn["cpu"], atol=1e-5 * 255)


def test_views_have_the_same_gradient_in_both_forms(rng, gradient):
    images = rng.uniform(100, 150, (4, 24, 24, 3)).astype("float32")
    weights = ops.convert_to_tensor(rng.normal(size=images.shape).astype("float32"))
    found = {}
    for device in ("cpu", "gpu"):
        with form(device):
            augmenter = SimCLRAugmenter(strength=0.2, blur=0.5, seed=1)
            found[device] = gradient(
                lambda x, a=augmenter: ops.sum(draw_views(a, x, 3) * weights), images
            )
    assert np.abs(found["cpu"]).max() > 0.1
    np.testing.assert_allclose(found["gpu"], found["cpu"], atol=1e-4)


def test_on_a_gpu_every_image_may_have_its_own_order_of_steps(images):
    layer = RandomColorDistortion(1.0, 1.0, 1.0, 0.5, factor=1.0, seed=1)
    drawn = layer.sample(len(images), *images.shape[1:3])
    order = np.stack([np.random.default_rng(i).permutation(4) for i in range(len(images))])
    drawn = drawn._replace(order=ops.convert_to_tensor(order.astype("int32")))
    with form("gpu"):
        together = ops.convert_to_numpy(layer.apply(images, drawn))
    with form("cpu"):
        for row in range(0, len(images), 5):
            of_row = keras.tree.map_structure(lambda leaf, row=row: leaf[row : row + 1], drawn)
            alone = ops.convert_to_numpy(layer.apply(images[row : row + 1], of_row))
            np.testing.assert_allclose(together[row : row + 1], alone, atol=1e-5 * 255)


def test_the_loss_in_both_forms_is_the_same(rng, gradient):
    z = rng.normal(size=(3000, 6)).astype("float32")

    def loss(z):
        return NTXentLoss(0.2).with_accuracy(*ops.split(z, 2))[0]

    with form("cpu"):
        expected = float(loss(z)), gradient(loss, z)
    with form("gpu"):
        found = float(loss(z)), gradient(loss, z)
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    np.testing.assert_allclose(found[1], expected[1], atol=1e-5 * np.abs(expected[1]).max())


def waiting_operations(device, images):
    """Return what makes a GPU wait in the program of views, loss and gradient."""
    weights = np.zeros((24 * 24 * 3, 8), "float32")
    augmenter = MAKE["augmenter"]()
    with form(device):
        text = program(lambda weights, x: step(augmenter, weights, x), weights, images)
    return {word for word in WAITING[keras.backend.backend()] if word in text}


def program(function, weights, images):
    """Return the program of a function and its gradient, as text."""
    if keras.backend.backend() == "jax":
        import jax

        traced = jax.jit(jax.value_and_grad(function)).trace(weights, images)
        return traced.lower(lowering_platforms=("cuda",)).as_text()
    import tensorflow as tf

    def both(weights, images):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = function(weights, images)
        return loss, tape.gradient(loss, weights)

    graph = (
        tf.function(both)
        .get_concrete_function(
            tf.TensorSpec(weights.shape, "float32"), tf.TensorSpec(images.shape, "uint8")
        )
        .graph
    )
    functions = graph.as_graph_def(add_shapes=False).library.function
    nodes = [*graph.as_graph_def().node, *(node for f in functions for node in f.node_def)]
    return " ".join({node.op for node in nodes})


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch compiles no program")
def test_the_compiled_views_and_loss_neither_loop_nor_branch_nor_call_the_host(images):
    assert waiting_operations("cpu", images)
    assert waiting_operations("gpu", images) == set()


def test_bfloat16_trains_in_the_form_for_gpus(make_model, labeled_images):
    model = make_model(dtype="mixed_bfloat16", augmenter=None)
    with form("gpu"):
        history = model.fit(labeled_images[0], batch_size=12, epochs=3, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    h = model.predict(labeled_images[0], verbose=0)
    assert h.dtype == "float32" and np.isfinite(h).all()
