"""The networks against numbers of the authors' code, whose weights are drawn from their names."""

import functools
import json
import subprocess
import sys
from unittest import mock

import keras
import numpy as np
import pytest
from authors_files import drawn, reference

from keras_simclr import ProjectionHead, ResNet
from keras_simclr.models.encoder import build_encoder
from keras_simclr.models.resnet import resnet_by_name

pytestmark = pytest.mark.once

NETS = {
    "resnet18_cifar": ResNet(18),
    "resnet50": ResNet(50),
    "resnet50_sk": ResNet(50, sk_ratio=0.0625),
}
NO_PACKAGE = "import sys; sys.modules['keras_simclr'] = None"


def encoder_of(resnet, size=32, channels=3):
    """Make an encoder of constant kernels: JAX compiles random ones, for seconds, by shape."""
    with mock.patch(
        "keras.initializers.VarianceScaling", lambda: keras.initializers.Constant(0.01)
    ):
        return build_encoder(resnet, (size, size, channels), (0, 1))


def all_layers(model):
    """Return by name the layers of an encoder, those of its blocks included."""
    return {layer.name: layer for layer in model._flatten_layers()}


# Weights by the rule of the reference


def layers_of_block(block, new_width, net):
    """Name the layers with weights of a block in the order of the authors' variables."""
    shortcut = [f"{block}_shortcut_conv", f"{block}_shortcut_bn"] if new_width else []
    path = [f"{block}_{kind}{i}" for i in (1, 2, 3) for kind in ("conv", "bn")]
    if net == "resnet18_cifar":
        return [*path[:4], *shortcut]
    if net == "resnet50_sk":
        path[4:4] = [f"{block}_sk_{part}" for part in ("squeeze_conv", "squeeze_bn", "mix_conv")]
    return [*shortcut, *path]


def layers_in_the_authors_order(net):
    stem = ["stem_conv", "stem_bn"]
    if net == "resnet50_sk":
        stem = [f"stem_{kind}{i}" for i in (1, 2, 3) for kind in ("conv", "bn")]
    blocks = (2, 2, 2, 2) if net == "resnet18_cifar" else (3, 4, 6, 3)
    names = [(f"stage{s}_block{b + 1}", b == 0) for s in (1, 2, 3, 4) for b in range(blocks[s - 1])]
    return stem + [layer for name in names for layer in layers_of_block(*name, net)]


def variables_in_the_authors_order(net, encoder, head):
    found = all_layers(encoder)
    body = [found[name] for name in layers_in_the_authors_order(net)]
    tail = [layer for layer in head.stack if layer.weights]
    tail[0::2], tail[1::2] = tail[1::2], tail[0::2]  # each norm before its dense layer
    return [
        variable
        for layers in (body, tail)
        for kind in ("trainable_variables", "non_trainable_variables")
        for layer in layers
        for variable in getattr(layer, kind)
    ]


def draw_weights(net, encoder, head, names, shapes):
    variables = variables_in_the_authors_order(net, encoder, head)
    for variable, name, shape in zip(variables, names, shapes, strict=True):
        shape = tuple(int(side) for side in shape.split(","))
        assert variable.name == name.split("/")[-1].removesuffix(":0")
        assert tuple(variable.shape) == shape
        variable.assign(drawn(name, shape).astype("float32"))


@functools.cache
def drawn_network(net):
    """Return encoder and head with the weights of the reference."""
    golden = reference(net)
    encoder = encoder_of(NETS[net], golden["x"].shape[1])
    head = ProjectionHead(num_layers=3)
    head.build(encoder.output_shape)
    draw_weights(net, encoder, head, golden["names"], golden["shapes"])
    return encoder, head


@functools.cache
def after_one_training_call(net):
    """Return h of a batch's own statistics, and the moving statistics of the first norm."""
    encoder, _ = drawn_network(net)
    weights = encoder.get_weights()
    h = keras.ops.convert_to_numpy(encoder(reference(net)["x"], training=True))
    first = encoder.get_layer("stem_bn1" if net == "resnet50_sk" else "stem_bn")
    statistics = [keras.ops.convert_to_numpy(v) for v in first.non_trainable_variables]
    encoder.set_weights(weights)
    return h, *statistics


def relative_difference(found, expected):
    found = keras.ops.convert_to_numpy(found)
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


# The reference itself


@pytest.mark.every_backend
@pytest.mark.parametrize("net", NETS)
def test_h_agrees_with_the_authors(net):
    h = drawn_network(net)[0].predict(reference(net)["x"], verbose=0)
    assert relative_difference(h, reference(net)["h"]) < 1e-4


@pytest.mark.every_backend
@pytest.mark.parametrize("net", NETS)
def test_z_agrees_with_the_authors(net):
    encoder, head = drawn_network(net)
    z = head(encoder.predict(reference(net)["x"], verbose=0))
    assert relative_difference(z, reference(net)["z"]) < 1e-4


@pytest.mark.every_backend
@pytest.mark.parametrize("net", NETS)
def test_h_in_training_agrees_with_the_authors(net):
    # Norms over four pooled values: the authors' own numbers move by 1e-4 between two machines.
    assert relative_difference(after_one_training_call(net)[0], reference(net)["h_train"]) < 2e-3


@pytest.mark.every_backend
@pytest.mark.parametrize("net", NETS)
def test_the_moving_mean_after_a_training_call_agrees_with_the_authors(net):
    expected = reference(net)["bn0_mean_after_train"]
    assert relative_difference(after_one_training_call(net)[1], expected) < 1e-5


@pytest.mark.every_backend
@pytest.mark.parametrize("net", NETS)
def test_the_moving_variance_after_a_training_call_agrees_with_the_authors(net):
    expected = reference(net)["bn0_variance_after_train"]
    assert relative_difference(after_one_training_call(net)[2], expected) < 1e-5


# Stems, shapes, numbers of weights


@pytest.fixture
def unfilled():
    """Return a function that makes a network without drawing its weights."""

    def make(resnet, size, view=None, channels=3):
        with keras.StatelessScope(initialize_variables=False):
            inputs = keras.Input((*size, channels))
            return keras.Model(inputs, resnet.for_view_size(*(view or size))(inputs))

    yield make
    keras.backend.clear_session(free_memory=False)


@pytest.mark.parametrize(
    ("height", "width", "stride"),
    [(32, 32, 1), (16, 32, 1), (33, 32, 4), (32, 33, 4), (33, 33, 4), (224, 224, 4)],
)
def test_the_stem_follows_the_size_of_the_views(height, width, stride, unfilled):
    expected = [-(-side // (8 * stride)) for side in (height, width)]
    assert unfilled(ResNet(18), (height, width)).output_shape == (None, *expected, 512)


@pytest.mark.parametrize(("stem", "side"), [("cifar", 28), ("imagenet", 7)])
@pytest.mark.parametrize("view", [(32, 32), (224, 224)])
def test_a_stem_can_be_chosen_for_any_view(stem, side, view, unfilled):
    network = unfilled(ResNet(18, stem=stem), (224, 224), view)
    assert network.output_shape == (None, side, side, 512)


@pytest.mark.parametrize("size", [(97, 65), (35, 50), (1, 1)])
@pytest.mark.parametrize("sk_ratio", [0, 0.0625])
def test_odd_sizes_give_feature_maps_of_the_rounded_up_size(size, sk_ratio, unfilled):
    network = unfilled(ResNet(50, sk_ratio=sk_ratio), size, (64, 64))
    assert network.output_shape == (None, *(-(-side // 32) for side in size), 2048)


def test_the_width_multiplies_the_width_of_h(unfilled):
    assert unfilled(ResNet(18, width=3), (32, 32)).output_shape[-1] == 3 * 512


@pytest.mark.parametrize("channels", [1, 4])
def test_images_have_any_number_of_channels(channels):
    encoder = encoder_of(ResNet(18), channels=channels)
    assert encoder.predict(np.ones((2, 32, 32, channels)), verbose=0).shape == (2, 512)


def number(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


FIRST_SHORTCUT = 64 * 64 + 2 * 64  # the authors', absent from the usual ResNet-18 and 34


@pytest.mark.parametrize(
    ("depth", "with_1000_classes", "classifier", "shortcut"),
    [
        (18, 11_689_512, 513_000, FIRST_SHORTCUT),
        (34, 21_797_672, 513_000, FIRST_SHORTCUT),
        (50, 25_557_032, 2_049_000, 0),
        (101, 44_549_160, 2_049_000, 0),
        (152, 60_192_808, 2_049_000, 0),
        (200, 64_673_832, 2_049_000, 0),
    ],
)
def test_it_has_the_published_number_of_parameters(
    depth, with_1000_classes, classifier, shortcut, unfilled
):
    parameters = number(unfilled(ResNet(depth), (224, 224)).trainable_weights)
    assert parameters == with_1000_classes - classifier + shortcut


@pytest.mark.parametrize(
    ("depth", "width", "sk_ratio", "millions"),
    [
        (50, 1, 0, 24),
        (50, 2, 0, 94),
        (50, 1, 0.0625, 35),
        (50, 2, 0.0625, 140),
        (101, 1, 0.0625, 65),
        (101, 2, 0.0625, 257),
        (152, 2, 0, 233),
        (152, 3, 0.0625, 795),
    ],
)
def test_it_has_the_millions_of_weights_of_the_second_papers_table_1(
    depth, width, sk_ratio, millions, unfilled
):
    network = unfilled(ResNet(depth, width, sk_ratio), (224, 224))
    assert round(number(network.weights) / 1e6) == millions


@pytest.mark.parametrize(
    ("depth", "with_1000_classes", "classifier"),
    [(18, 11_689_512, 513_000), (34, 21_797_672, 513_000), (50, 25_557_032, 2_049_000)],
)
def test_torchvisions_networks_have_their_number_of_parameters(
    depth, with_1000_classes, classifier, unfilled
):
    network = unfilled(ResNet(depth, style="torchvision"), (224, 224))
    assert number(network.trainable_weights) == with_1000_classes - classifier


def below(frames, function):
    return function() if frames == 0 else below(frames - 1, function)


def test_the_deepest_network_stays_below_pythons_recursion_limit(unfilled):
    network = below(100, lambda: unfilled(ResNet(200, sk_ratio=0.0625), (64, 64)))
    assert network.output_shape == (None, 2, 2, 2048)


def test_layers_have_unique_names(unfilled):
    network = unfilled(ResNet(50, sk_ratio=0.0625), (64, 64))
    names = [layer.name for layer in network._flatten_layers()]
    assert len(names) == len(set(names))


# The start


@pytest.mark.parametrize("depth", [18, 50])
def test_a_block_is_the_identity_at_the_start(depth):
    encoder = encoder_of(ResNet(depth))
    outputs = [encoder.get_layer(f"stage2_block{block}_out").output for block in (1, 2)]
    before, after = keras.Model(encoder.input, outputs).predict(
        np.random.default_rng(0).uniform(size=(2, 32, 32, 3)), verbose=0
    )
    assert before.std() > 0
    np.testing.assert_array_equal(before, after)


@pytest.fixture(scope="module")
def kernels():
    """Return the first and the second kernel of a block of ResNet-18 as they start."""
    keras.utils.set_random_seed(0)
    encoder = build_encoder(ResNet(18), (32, 32, 3), (0, 1))
    names = ("stage3_block2_conv1", "stage3_block2_conv2")
    return [keras.ops.convert_to_numpy(encoder.get_layer(name).kernel) for name in names]


def test_kernels_start_with_variance_1_over_their_inputs(kernels):
    assert kernels[0].var() * 9 * 256 == pytest.approx(1, rel=0.02)


def test_no_two_kernels_start_with_the_same_values(kernels):
    assert not np.array_equal(*kernels)


# Saving


@pytest.mark.every_backend
def test_it_is_restored_from_its_config():
    resnet = ResNet(101, width=2, sk_ratio=0.0625, stem="cifar", normalization=((0, 1), (1, 2)))
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(resnet)))
    assert keras.saving.deserialize_keras_object(config) == resnet


def test_networks_with_different_arguments_differ():
    assert ResNet(50) != ResNet(50, width=2)


def part_to_save(net):
    encoder, _ = drawn_network(net)
    if net == "resnet50_sk":  # each kind of its layers is among the first, in a smaller file
        return keras.Model(encoder.input, encoder.get_layer("stage2_block2_out").output)
    return encoder


def difference_in_another_process(net, path):
    """Compare a saved network, opened where this package cannot be imported, with the original."""
    images = np.random.default_rng(0).uniform(size=(2, 41, 56, 3)).astype("float32")
    np.save(path / "images.npy", images)
    part_to_save(net).save(path / "network.keras")
    code = f"""{NO_PACKAGE}
import keras, numpy as np
network = keras.models.load_model(r"{path}/network.keras")
found = network.predict(np.load(r"{path}/images.npy"), verbose=0)
np.save(r"{path}/found.npy", found)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    expected = part_to_save(net).predict(images, verbose=0)
    return relative_difference(np.load(path / "found.npy"), expected)


@pytest.mark.parametrize("net", ["resnet18_cifar", "resnet50_sk"])
def test_a_saved_network_loads_without_this_package_at_another_size(net, tmp_path):
    assert difference_in_another_process(net, tmp_path) < 1e-5


# Names and arguments


@pytest.mark.parametrize("depth", [10, 18, 34, 50, 101, 152, 200])
def test_a_name_stands_for_a_depth(depth):
    assert resnet_by_name(f"resnet{depth}") == ResNet(depth)


@pytest.mark.parametrize(("name", "width"), [("resnet10_0.5x", 0.5), ("resnet10_2x", 2)])
def test_a_name_may_have_a_width(name, width):
    assert resnet_by_name(name) == ResNet(10, width=width)


def test_a_narrow_network_has_few_channels(unfilled):
    network = unfilled(resnet_by_name("resnet10_0.5x"), (32, 32))
    assert network.output_shape == (None, 4, 4, 256)
    assert number(network.trainable_weights) == 1_227_488


@pytest.mark.parametrize(
    "name", ["resnet51", "ResNet50", "resnet", "50", "", "resnet50x", "resnet50_x"]
)
def test_the_error_for_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(ValueError, match=f"resnet10.*resnet200.* Received: '{name}'"):
        resnet_by_name(name)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, False),
        ({"width": 2}, True),
        ({"sk_ratio": 0.0625}, True),
    ],
)
def test_wide_and_selective_networks_are_recognized(arguments, expected):
    assert ResNet(50, **arguments).is_wide_or_selective is expected


@pytest.mark.parametrize("depth", [0, 51, "50", None])
def test_an_unknown_depth_is_refused(depth):
    with pytest.raises(
        ValueError, match="`depth` must be one of 10, 18, .*, 200. Received: depth="
    ):
        ResNet(depth)


@pytest.mark.parametrize("width", [0, -1, "2", float("nan"), 0.01, 1 / 16])
def test_a_width_without_a_multiple_of_8_channels_is_refused(width):
    with pytest.raises(
        ValueError, match="`width` must .*positive|multiple of 1/8.* Received: width="
    ):
        ResNet(50, width=width)


@pytest.mark.parametrize("sk_ratio", [-0.1, 1.5, float("nan"), "0.0625", None])
def test_an_sk_ratio_outside_of_0_to_1_is_refused(sk_ratio):
    with pytest.raises(ValueError, match=r"`sk_ratio` must be .* \[0, 1\]. Received: sk_ratio="):
        ResNet(50, sk_ratio=sk_ratio)


@pytest.mark.parametrize("stem", ["CIFAR", "small", None])
def test_an_unknown_stem_is_refused(stem):
    with pytest.raises(ValueError, match="`stem` must be one of .*'auto'.* Received: stem="):
        ResNet(50, stem=stem)


def test_an_unknown_style_is_refused():
    with pytest.raises(
        ValueError, match="`style` must be one of 'simclr', .*'solo-learn'. Received"
    ):
        ResNet(50, style="keras")


def test_selective_kernels_in_the_style_of_torchvision_are_refused():
    with pytest.raises(ValueError, match="`sk_ratio` must be 0 in the style of torchvision"):
        ResNet(50, sk_ratio=0.0625, style="torchvision")
