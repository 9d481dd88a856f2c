"""Checkpoints of the authors' code as models, against the numbers of that code."""

import functools
import re

import keras
import numpy as np
import pytest
from authors_files import (
    authors_variables,
    empty_arrays,
    golden_arrays,
    reference,
    write_saved_model,
    write_tf1,
)

from keras_simclr import ResNet, SimCLR
from keras_simclr.models import load_checkpoint
from keras_simclr.models.assign_arrays import weights_of_encoder
from keras_simclr.models.encoder import build_encoder
from keras_simclr.models.find_network import find_network

pytestmark = pytest.mark.once

LOGITS = "head_supervised/linear_layer/dense"
HEAD = re.compile("head_contrastive|_projection_head")


@functools.cache
def arrays_of(layout):
    return golden_arrays("resnet18_cifar", layout)


@pytest.fixture(scope="module")
def tf1_folder(tmp_path_factory):
    """Return the folder of a checkpoint of fine-tuning, with the state of its optimizer."""
    arrays = dict(arrays_of("tf1"))
    momentum = {f"{n}/Momentum": np.ones_like(a) for n, a in arrays.items() if a.ndim == 1}
    step = {"global_step": np.int64(37535)}
    return write_tf1({**arrays, **momentum, **step}, tmp_path_factory.mktemp("tf1"))


@pytest.fixture(scope="module")
def loaded(tf1_folder):
    return load_checkpoint(tf1_folder, value_range=(0, 1), seed=0)


@pytest.fixture(scope="module")
def golden():
    return reference("resnet18_cifar")


@pytest.fixture(scope="module")
def h(loaded, golden):
    return loaded.model.predict(golden["x"], verbose=0)


def relative_difference(found, expected):
    found = keras.ops.convert_to_numpy(found)
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


def logits_of(classifier, images):
    model = keras.Model(classifier.inputs, classifier.get_layer("logits").output)
    return model.predict(images, verbose=0)


def assert_same_weights(model, other):
    for weight, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


# What the files contain


@pytest.mark.every_backend
def test_h_of_a_loaded_checkpoint_agrees_with_the_authors(h, golden):
    assert relative_difference(h, golden["h"]) < 1e-4


def test_z_of_a_loaded_checkpoint_agrees_with_the_authors(loaded, h, golden):
    assert relative_difference(loaded.model.projection_head(h), golden["z"]) < 1e-4


def test_the_classification_head_is_applied_to_h(loaded, golden):
    expected = (
        golden["h"] @ arrays_of("tf1")[f"{LOGITS}/kernel"] + arrays_of("tf1")[f"{LOGITS}/bias"]
    )
    assert relative_difference(logits_of(loaded.classifier, golden["x"]), expected) < 1e-4


def test_the_classification_head_is_applied_to_the_projection_on_request(loaded, golden):
    classifier = load_checkpoint(
        arrays_of("tf1"), value_range=(0, 1), head_on="projection"
    ).classifier
    hidden = golden["h"]
    for layer in loaded.model.projection_head.first_layers(1):
        hidden = layer(hidden)
    expected = keras.ops.convert_to_numpy(hidden) @ arrays_of("tf1")[f"{LOGITS}/kernel"]
    expected += arrays_of("tf1")[f"{LOGITS}/bias"]
    assert relative_difference(logits_of(classifier, golden["x"]), expected) < 1e-4


def test_the_model_counts_as_pretrained(loaded):
    assert loaded.model.pretrained


def test_the_views_have_the_size_that_suits_the_stem(loaded):
    assert loaded.model.image_size == (32, 32)


def test_images_have_the_value_range_that_was_asked_for(golden, h):
    model = load_checkpoint(arrays_of("tf1")).model
    assert relative_difference(model.predict(golden["x"] * 255, verbose=0), h) < 1e-5


def test_the_loaded_arrays_are_still_there():
    arrays = dict(arrays_of("tf1"))
    load_checkpoint(arrays)
    assert set(arrays) == set(arrays_of("tf1"))


@pytest.mark.parametrize("keys", ["numbers", "list"])
def test_a_saved_model_is_read_by_its_object_graph(keys, loaded, tmp_path):
    folder = write_saved_model(arrays_of("tf2"), tmp_path / "saved_model", keys)
    found = load_checkpoint(folder, value_range=(0, 1))
    assert_same_weights(found.model.encoder, loaded.model.encoder)
    assert_same_weights(found.model.projection_head, loaded.model.projection_head)
    assert_same_weights(found.classifier, loaded.classifier)


def test_without_a_projection_head_in_the_file_there_is_a_new_one(loaded):
    arrays = {n: a for n, a in arrays_of("tf1").items() if "head_contrastive" not in n}
    found = load_checkpoint(arrays, seed=0, allow_supervised=True)
    assert not found.has_projection_head
    assert np.std(found.model.projection_head.get_weights()[0]) > 0
    assert_same_weights(found.classifier, loaded.classifier)


def test_without_a_classification_head_in_the_file_there_is_no_classifier():
    arrays = {n: a for n, a in arrays_of("tf1").items() if not n.startswith(LOGITS)}
    found = load_checkpoint(arrays)
    assert found.classifier is None
    assert found.has_projection_head


@pytest.fixture(scope="module")
def averaged():
    """Return arrays with an average, which is twice as large as the weights."""
    arrays = dict(arrays_of("tf1"))
    trained = {n: a for n, a in arrays.items() if not n.startswith(LOGITS)}
    return {**arrays, **{f"ema_model/{name}": 2 * array for name, array in trained.items()}}


@pytest.mark.parametrize(("ema", "factor"), [(False, 1), (True, 2)])
def test_the_average_of_the_weights_is_loaded_on_request(ema, factor, averaged):
    model = load_checkpoint(averaged, ema=ema).model
    kernel = model.encoder.get_layer("stem_conv").get_weights()[0]
    np.testing.assert_array_equal(kernel, factor * arrays_of("tf1")["base_model/conv2d/kernel"])


def test_an_average_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="averaged weights.*ema=True. Received: 121 arrays"):
        load_checkpoint(arrays_of("tf1"), ema=True)


# What one can do with them


@pytest.mark.every_backend
def test_the_encoder_fine_tunes(golden, assert_fine_tunes):
    classifier = load_checkpoint(arrays_of("tf1"), value_range=(0, 1)).classifier
    assert_fine_tunes(classifier, golden["x"])


def test_a_loaded_model_is_saved_and_loaded_again(loaded, golden, h, tmp_path):
    loaded.model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    assert relative_difference(model.predict(golden["x"], verbose=0), h) < 1e-6


# Networks of other sizes, by their names and shapes

NETWORKS = [
    *((depth, 1, False, "imagenet") for depth in (18, 34, 50, 101, 152, 200)),
    *((depth, 1, True, "imagenet") for depth in (50, 200)),
    (18, 1, False, "cifar"),
    (50, 4, False, "imagenet"),
    (50, 2, True, "imagenet"),
    (152, 3, True, "imagenet"),
    (50, 1, True, "cifar"),
]


@pytest.fixture
def shapes_of():
    """Return a function from a `ResNet` to {layer: {weight: shape}}, which draws no weights."""

    def shapes(resnet):
        with keras.StatelessScope(initialize_variables=False):
            encoder = build_encoder(resnet, (64, 64, 3), (0, 1))
        found = weights_of_encoder(encoder)
        return {
            layer: {weight: tuple(variable.shape) for weight, variable in of_layer.items()}
            for layer, of_layer in found.items()
        }

    yield shapes
    keras.backend.clear_session(free_memory=False)


@pytest.mark.parametrize(("depth", "width", "selective", "stem"), NETWORKS)
def test_each_network_is_found_by_its_names_and_has_their_shapes(
    depth, width, selective, stem, shapes_of
):
    variables = authors_variables(depth, width, selective, stem)
    expected = ResNet(depth, width, 0.0625 if selective else 0, stem)
    shapes = shapes_of(expected)
    for layout in ("tf1", "tf2"):
        arrays = empty_arrays(variables, layout)
        network = find_network(arrays)
        assert (network.resnet, network.channels) == (expected, 3)
        found = {
            layer: {weight: network.shape(arrays, name) for weight, name in names.items()}
            for layer, names in network.layers.items()
        }
        assert found == shapes


@pytest.mark.parametrize("layout", ["tf1", "tf2"])
def test_the_shortcut_comes_first_in_the_names_of_a_block(layout):
    variables = authors_variables(18)
    network = find_network(empty_arrays(variables, layout))
    names = {v.tf1: getattr(v, layout) for v in variables}
    shortcut = network.layers["stage2_block1_shortcut_conv"]["kernel"]
    assert shortcut == names["base_model/conv2d_6/kernel"]


@pytest.mark.parametrize(("depth", "selective", "count"), [(18, False, 105), (50, True, 371)])
def test_the_encoder_has_as_many_variables_as_the_authors(depth, selective, count):
    arrays = empty_arrays(authors_variables(depth, selective=selective), "tf1")
    network = find_network(arrays)
    assert sum(map(len, network.layers.values())) == count


def test_a_first_head_with_two_layers_is_found():
    network = find_network(empty_arrays(authors_variables(18, layers=2), "tf1"))
    assert len(network.head) == 2


def test_a_tf2_resnet18_with_the_stem_of_selective_kernels_is_found():
    network = find_network(empty_arrays(authors_variables(18, selective=True), "tf2"))
    assert network.resnet == ResNet(18, sk_ratio=0.0625, stem="imagenet")


# Bad input


@pytest.fixture
def arrays():
    return empty_arrays(authors_variables(18, stem="cifar"), "tf1")


def test_a_tf1_resnet18_with_selective_kernels_is_refused():
    with pytest.raises(ValueError, match="a ResNet-18 with selective kernels by the authors' TF1"):
        load_checkpoint(empty_arrays(authors_variables(18, selective=True), "tf1"))


def test_a_wrong_shape_is_named(arrays):
    arrays["base_model/conv2d_3/kernel"] = np.zeros((3, 3, 64, 63), "float32")
    expected = r"'base_model/conv2d_3/kernel' must have the shape \(3, 3, 64, 64\).*Received: \(3"
    with pytest.raises(ValueError, match=expected):
        load_checkpoint(arrays)


def test_a_missing_kernel_is_an_error(arrays):
    del arrays["base_model/conv2d_3/kernel"]
    with pytest.raises(ValueError, match="Received: 20 convolutions and 21 norms"):
        load_checkpoint(arrays)


def test_a_missing_statistic_is_an_error(arrays):
    del arrays["base_model/batch_normalization_3/moving_mean"]
    expected = "'stage1_block1_bn2' must have the weights: gamma, beta, moving_mean"
    with pytest.raises(ValueError, match=expected):
        load_checkpoint(arrays)


def test_a_variable_that_no_network_has_is_named(arrays):
    arrays["base_model/se/dense/kernel"] = np.zeros((4, 4), "float32")
    with pytest.raises(ValueError, match="arrays that its networks lack: base_model/se/dense"):
        load_checkpoint(arrays)


@pytest.mark.parametrize("names", [[], ["vit/pos_embed", "vit/cls_token"]])
def test_an_unknown_layout_is_refused(names):
    arrays = {name: np.zeros(3) for name in names}
    with pytest.raises(ValueError, match=f"names like .*torchvision.*Received: {len(names)} array"):
        load_checkpoint(arrays)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("module.encoder_k.conv1.weight", "MoCo"),
        ("module.queue", "MoCo"),
        ("state_dict.target_net.0.conv1.weight", "BYOL"),
        ("state_dict.momentum_backbone.conv1.weight", "BYOL"),
        ("state_dict.prediction_head.layers.0.weight", "BYOL or SimSiam"),
        ("module.prototypes.weight", "SwAV"),
    ],
)
def test_another_method_is_named(name, method):
    with pytest.raises(ValueError, match=f"one of SimCLR. Received: names of {method}.*{name}"):
        load_checkpoint({name: np.zeros(3)})


def test_an_untrained_projection_head_reveals_a_supervised_network(arrays):
    for name in arrays:
        if re.search("head_contrastive.*(gamma|beta)", name):
            arrays[name] = np.full(arrays[name].shape, float("gamma" in name), "float32")
    with pytest.raises(ValueError, match="an untrained projection head.*allow_supervised=True"):
        load_checkpoint(arrays)


@pytest.mark.parametrize("layout", ["tf1", "tf2"])
def test_a_classification_head_alone_may_be_of_a_supervised_network(layout):
    arrays = empty_arrays(authors_variables(18, stem="cifar"), layout)  # as in hub modules
    arrays = {name: array for name, array in arrays.items() if not HEAD.search(name)}
    with pytest.raises(ValueError, match="a classification head and no projection head, as a sup"):
        load_checkpoint(arrays)


def test_an_encoder_alone_is_loaded(arrays):
    arrays = {name: array for name, array in arrays.items() if name.startswith("base_model")}
    assert load_checkpoint(arrays).classifier is None


@pytest.mark.parametrize("layout", ["tf1", "tf2"])
@pytest.mark.parametrize("style", ["torchvision", "solo-learn"])
def test_another_style_than_that_of_the_authors_is_refused(layout, style):
    arrays = empty_arrays(authors_variables(18), layout)
    with pytest.raises(ValueError, match=f"`style` must be 'simclr'.* Received: style='{style}'"):
        load_checkpoint(arrays, style=style, normalization=(0, 1))


def test_the_style_of_the_authors_may_be_named(arrays):
    assert load_checkpoint(arrays, style="simclr").model.backbone.normalization is None


@pytest.mark.parametrize("head_on", ["z", 1])
def test_an_unknown_place_of_the_head_is_refused(head_on, arrays):
    with pytest.raises(ValueError, match="`head_on` must be one of 'h', 'projection'"):
        load_checkpoint(arrays, head_on=head_on)


def test_a_place_of_the_wrong_width_is_refused(arrays):
    arrays[f"{LOGITS}/kernel"] = np.zeros((128, 10), "float32")
    with pytest.raises(ValueError, match="`head_on` must name .*128. Received: head_on=None"):
        load_checkpoint(arrays)


def test_a_place_without_a_head_is_refused(arrays):
    arrays = {name: array for name, array in arrays.items() if not name.startswith(LOGITS)}
    with pytest.raises(ValueError, match="`head_on` must be None for a checkpoint without"):
        load_checkpoint(arrays, head_on="h")


@pytest.mark.parametrize(
    "argument",
    [
        {"style": "keras"},
        {"value_range": (1, 0)},
        {"normalization": (0, 0)},
        {"ema": "yes"},
        {"allow_supervised": None},
        {"image_size": 0},
        {"temperature": 0},
        {"num_views": 1},
        {"micro_batch_size": 1},
    ],
)
def test_an_argument_is_checked_before_the_file_is_read(argument, tmp_path):
    with pytest.raises(ValueError, match=f"`{next(iter(argument))}` must be"):
        load_checkpoint(tmp_path / "missing", **argument)


def test_the_arguments_of_simclr_are_passed_on():
    arrays = empty_arrays(authors_variables(18, stem="cifar"), "tf1")
    model = load_checkpoint(arrays, image_size=(40, 48), seed=3, temperature=0.3).model
    assert isinstance(model, SimCLR)
    assert (model.image_size, model.seed, model.temperature) == ((40, 48), 3, 0.3)


def test_an_unknown_argument_is_refused_before_the_file_is_read(tmp_path):
    with pytest.raises(ValueError, match="must be those of .* Received: heads_on, size. Those of"):
        load_checkpoint(tmp_path / "missing", heads_on="h", size=3)


@pytest.mark.parametrize("name", ["backbone", "projection_head"])
def test_parts_of_the_checkpoint_cannot_be_replaced(name):
    with pytest.raises(ValueError, match=f"`{name}` must be that of the checkpoint"):
        load_checkpoint("missing", **{name: None})
