"""Checkpoints of PyTorch projects as models, against networks of torchvision and timm."""

import functools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import torch
from authors_files import authors_variables, empty_arrays
from torch import nn
from torch_networks import timm, torchvision

from keras_simclr import ResNet
from keras_simclr.checkpoints.registry import IMAGENET
from keras_simclr.models import load_checkpoint
from keras_simclr.models.find_network import find_network, set_style

pytestmark = pytest.mark.once

NO_PACKAGE = "import sys; sys.modules['keras_simclr'] = None"
IMAGES = np.random.default_rng(0).uniform(size=(2, 75, 64, 3)).astype("float32")
OWN = ((0.5, 0.4, 0.3), (0.2, 0.3, 0.25))


def randomized(network):
    """Give a network norms that are not the identity."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if tensor.ndim == 1:
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(0.5 + noise if name.endswith(("var", "weight")) else noise - 0.5)
    return network.eval()


@functools.cache
def resnet18():
    torch.manual_seed(0)
    return randomized(torchvision.models.resnet18(num_classes=10))


def features(network, images, normalization=((0.0,), (1.0,))):
    """Return h of a PyTorch network without its last layer."""
    mean, deviation = (torch.tensor(part).reshape(1, -1, 1, 1) for part in normalization)
    body = nn.Sequential(*list(network.children())[:-1], nn.Flatten())
    with torch.no_grad():
        return body((torch.from_numpy(images).permute(0, 3, 1, 2) - mean) / deviation).numpy()


def relative_difference(found, expected):
    found = keras.ops.convert_to_numpy(found)
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


def with_prefix(prefix, module, without=()):
    state = module.state_dict() if isinstance(module, nn.Module) else module
    return {f"{prefix}{n}": t for n, t in state.items() if not n.startswith(tuple(without) or "-")}


# The layouts of the projects

NORMED_HEAD = nn.Sequential(
    nn.Linear(512, 64, bias=False),
    nn.BatchNorm1d(64),
    nn.ReLU(),
    nn.Linear(64, 16, bias=False),
    nn.BatchNorm1d(16),
)
PLAIN_HEAD = nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 16))
BARE_HEAD = nn.Sequential(nn.Linear(512, 64, bias=False), nn.ReLU(), nn.Linear(64, 16, bias=False))
RENAMED = {"0": "fc0", "1": "bn0", "3": "fc1", "4": "bn1"}
VISSL_HEAD = {"0": "0.clf.0", "2": "1.clf.0"}


def renamed(module, names):
    return {names[n.split(".")[0]] + n[n.index(".") :]: t for n, t in module.state_dict().items()}


def lightly():
    state = {
        **with_prefix("backbone.", resnet18(), without=["fc"]),
        **with_prefix("projection_head.layers.", NORMED_HEAD),
        **with_prefix("online_classifier.linear.", resnet18().fc),
    }
    momentum = {"state": {0: {"momentum_buffer": torch.ones(3)}}}
    return {
        "epoch": 99,
        "state_dict": state,
        "optimizer_states": [momentum],
        "hyper_parameters": {"batch_size": 256, "num_classes": 10},
    }


def lightly_sequential():
    body = nn.Sequential(*list(resnet18().children())[:-1])
    return {"state_dict": {**with_prefix("backbone.", body), **lightly_head()}}


def lightly_head():
    return with_prefix("projection_head.layers.", NORMED_HEAD)


def vissl():
    trunk = with_prefix("_feature_blocks.", resnet18(), without=["fc"])
    model = {"trunk": trunk, "heads": renamed(PLAIN_HEAD, VISSL_HEAD)}
    optimizer = {"optim": {"state": {0: {"momentum_buffer": torch.ones(3)}}}}
    classy = {"base_model": {"model": model, "meta": {}}, "optimizer": optimizer}
    return {"phase_idx": 99, "loss": np.float64(5.5), "classy_state_dict": classy}


def mmselfsup():
    state = {
        **with_prefix("data_preprocessor.", {"mean": torch.ones(3, 1, 1)}),
        **with_prefix("backbone.", resnet18(), without=["fc"]),
        **with_prefix("neck.", renamed(NORMED_HEAD, RENAMED)),
    }
    return {"meta": {"epoch": 200}, "state_dict": state}


def spijkervet():
    encoder = with_prefix("encoder.", resnet18(), without=["fc"])
    return {**encoder, **with_prefix("projector.", BARE_HEAD)}


def head_instead_of_fc():
    backbone = with_prefix("backbone.", resnet18(), without=["fc"])
    return {"state_dict": {**backbone, **with_prefix("backbone.fc.", PLAIN_HEAD)}}


HEADS = {
    lightly: NORMED_HEAD,
    lightly_sequential: NORMED_HEAD,
    vissl: PLAIN_HEAD,
    mmselfsup: NORMED_HEAD,
    spijkervet: BARE_HEAD,
    head_instead_of_fc: PLAIN_HEAD,
}
PROJECTS = list(HEADS)
for head_ in HEADS.values():
    randomized(head_)


def saved(project, folder):
    """Save a checkpoint as its project does; VISSL's are older than PyTorch's zip files."""
    path = folder / "checkpoint.pth"
    torch.save(project(), path, _use_new_zipfile_serialization=project is not vissl)
    return path


@functools.cache
def encoder_of_resnet18():
    state = resnet18().state_dict()
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    return load_checkpoint(arrays, value_range=(0, 1), allow_supervised=True).model.encoder


@pytest.fixture(scope="module", params=PROJECTS, ids=[project.__name__ for project in PROJECTS])
def project(request):
    return request.param


@pytest.fixture(scope="module")
def loaded(project, tmp_path_factory):
    return load_checkpoint(saved(project, tmp_path_factory.mktemp("torch")), value_range=(0, 1))


# Parity


@pytest.mark.every_backend
def test_h_of_torchvision_agrees_with_pytorch():
    expected = features(resnet18(), IMAGES, IMAGENET)
    found = encoder_of_resnet18().predict(IMAGES, verbose=0)
    assert relative_difference(found, expected) < 1e-4


def test_a_checkpoint_has_the_weights_of_the_pytorch_encoder(loaded):
    expected = encoder_of_resnet18().get_weights()
    for weight, other in zip(loaded.model.encoder.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_z_of_a_checkpoint_agrees_with_pytorch(project, loaded):
    h = np.random.default_rng(1).uniform(size=(2, 512)).astype("float32")
    with torch.no_grad():
        expected = HEADS[project](torch.from_numpy(h)).numpy()
    assert loaded.has_projection_head
    assert relative_difference(loaded.model.projection_head(h), expected) < 1e-5


def test_each_project_has_its_normalization(project, loaded):
    none = (spijkervet, head_instead_of_fc)
    assert loaded.model.backbone.normalization == (None if project in none else IMAGENET)


def test_only_a_linear_classifier_makes_a_classifier(project, loaded):
    assert (loaded.classifier is not None) == (project is lightly)


def test_logits_agree_with_pytorch(tmp_path):
    classifier = load_checkpoint(saved(lightly, tmp_path), value_range=(0, 1)).classifier
    with torch.no_grad():
        h = torch.from_numpy(features(resnet18(), IMAGES, IMAGENET))
        expected = torch.softmax(resnet18().fc(h), 1).numpy()
    assert relative_difference(classifier.predict(IMAGES, verbose=0), expected) < 1e-4


@pytest.mark.every_backend
def test_the_encoder_of_a_pytorch_checkpoint_fine_tunes(tmp_path, assert_fine_tunes):
    classifier = load_checkpoint(saved(lightly, tmp_path), value_range=(0, 1)).classifier
    assert_fine_tunes(classifier, IMAGES)


def test_h_of_a_timm_resnet50_agrees_with_pytorch():
    torch.manual_seed(0)
    network = randomized(timm.create_model("resnet50", num_classes=0))
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    model = load_checkpoint(arrays, value_range=(0, 1)).model
    with torch.no_grad():
        images = (torch.from_numpy(IMAGES) - torch.tensor(IMAGENET[0])) / torch.tensor(IMAGENET[1])
        expected = network(images.permute(0, 3, 1, 2)).numpy()
    assert relative_difference(model.predict(IMAGES, verbose=0), expected) < 1e-4


@pytest.mark.parametrize("channels", [6, 7, 11])
def test_h_of_torchgeo_agrees_with_pytorch(channels):
    network = randomized(timm.create_model("resnet18", num_classes=0, in_chans=channels))
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, channels), dtype="uint8")
    model = load_checkpoint(arrays).model
    with torch.no_grad():
        expected = network(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).numpy()
    assert relative_difference(model.predict(images, verbose=0), expected) < 1e-4


def test_h_of_solo_learn_agrees_with_pytorch():
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, padding=2, bias=False), nn.Identity()
    randomized(network)
    backbone = with_prefix("state_dict.backbone.", network, without=["fc"])
    state = {**backbone, **with_prefix("state_dict.projector.", PLAIN_HEAD)}
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    model = load_checkpoint(arrays, value_range=(0, 1), normalization=OWN).model
    images = IMAGES[:, :32, :32]
    expected = features(network, images, OWN)
    assert model.backbone.style == "solo-learn"
    assert relative_difference(model.predict(images, verbose=0), expected) < 1e-4


def test_safetensors_are_loaded(tmp_path):
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in spijkervet().items()}
    save_file(state, tmp_path / "model.safetensors")
    model = load_checkpoint(tmp_path / "model.safetensors").model
    kernel = model.encoder.get_layer("stem_conv").get_weights()[0]
    np.testing.assert_array_equal(kernel, resnet18().conv1.weight.detach().permute(2, 3, 1, 0))


def test_the_encoder_loads_without_this_package(tmp_path):
    encoder = encoder_of_resnet18()  # of whose layers each kind is among the first
    part = keras.Model(encoder.input, encoder.get_layer("stage2_block1_out").output)
    part.save(tmp_path / "part.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    code = f"""{NO_PACKAGE}
import keras, numpy as np
part = keras.models.load_model(r"{tmp_path}/part.keras")
np.save(r"{tmp_path}/found.npy", part.predict(np.load(r"{tmp_path}/images.npy"), verbose=0))
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
    expected = part.predict(IMAGES, verbose=0)
    assert relative_difference(np.load(tmp_path / "found.npy"), expected) < 1e-5


def test_a_model_with_a_head_of_stock_layers_is_saved_and_loaded(tmp_path):
    model = load_checkpoint(saved(mmselfsup, tmp_path), value_range=(0, 1)).model
    model.save(tmp_path / "model.keras")
    h = np.ones((2, 512), "float32")
    found = keras.models.load_model(tmp_path / "model.keras").projection_head(h)
    expected = keras.ops.convert_to_numpy(model.projection_head(h))
    assert relative_difference(found, expected) < 1e-6


# Names of larger networks, which are found without weights


def names_of(network):
    return {
        name: np.broadcast_to(np.float32(0), tensor.shape)
        for name, tensor in network.state_dict().items()
    }


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_the_depth_is_found(depth):
    with torch.device("meta"):
        network = getattr(torchvision.models, f"resnet{depth}")()
    found = find_network(names_of(network)).resnet
    assert found == ResNet(depth, stem="imagenet", style="torchvision", normalization=IMAGENET)


def test_a_port_of_the_authors_weights_with_torchvisions_names_keeps_their_padding():
    with torch.device("meta"):
        network = find_network(names_of(torchvision.models.resnet50()))
    set_style(network, "simclr", None)
    assert network.resnet == ResNet(50, stem="imagenet")


def port_layers(selective):
    """List the layers of a ResNet-50 of the PyTorch ports in the order of their calls."""
    stem = ["0", "1.0", "2", "3.0", "4", "5.0"] if selective else ["0", "1.0"]
    layers = [f"resnet.net.0.{layer}" for layer in stem]
    convs = ["0", "1.0", "2", "3.0", "4", "5.0"]
    if selective:
        inner = [
            "main_conv.0",
            "main_conv.1.0",
            "mixing_conv.0",
            "mixing_conv.1.0",
            "mixing_conv.2",
        ]
        convs = ["0", "1.0", *(f"2.{layer}" for layer in inner), "3", "4.0"]
    for group, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            path = f"resnet.net.{group + 1}.blocks.{block}"
            if block == 0:
                shortcut = "shortcut.2" if selective else "shortcut"
                layers += [f"{path}.projection.{shortcut}", f"{path}.projection.bn.0"]
            layers += [f"{path}.net.{conv}" for conv in convs]
    return layers


@pytest.mark.parametrize("selective", [False, True])
def test_a_port_of_the_second_papers_networks_has_the_authors_layers(selective):
    variables = authors_variables(50, selective=selective)
    originals = empty_arrays([v for v in variables if "base_model" in v.tf1], "tf1")
    layers = list(dict.fromkeys(name.rpartition("/")[0] for name in originals))
    ported = dict(zip(layers, port_layers(selective), strict=True))
    weights = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
    weights |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    names = {}
    for name in originals:
        layer, _, weight = name.rpartition("/")
        names[name] = f"{ported[layer]}.{weights[weight]}"
    arrays = {names[n]: a.transpose(3, 2, 0, 1) if a.ndim == 4 else a for n, a in originals.items()}
    found, expected = find_network(arrays), find_network(originals)
    assert found.resnet == expected.resnet
    for layer, of_layer in expected.layers.items():
        assert found.layers[layer] == {weight: names[name] for weight, name in of_layer.items()}


# Bad input


def test_a_classifier_without_a_projection_head_may_be_supervised():
    arrays = names_of(resnet18())
    with pytest.raises(ValueError, match="no projection head, as a supervised.*allow_supervised"):
        load_checkpoint(arrays)


def test_two_encoders_are_refused():
    arrays = {f"{prefix}.{n}": a for prefix in "ab" for n, a in names_of(resnet18()).items()}
    with pytest.raises(ValueError, match="has one encoder. Received: several.*'a.', 'b.'"):
        load_checkpoint(arrays)


def small_stem():
    arrays = names_of(resnet18())
    return {**arrays, "conv1.weight": np.zeros((64, 3, 3, 3), "float32")}


def test_a_small_stem_needs_its_normalization():
    with pytest.raises(ValueError, match="`normalization` must be given.*3x3 stem"):
        load_checkpoint(small_stem(), allow_supervised=True)


def test_a_given_normalization_is_used():
    model = load_checkpoint(small_stem(), allow_supervised=True, normalization=OWN).model
    assert model.backbone.normalization == OWN


def test_a_wide_resnet_is_refused():
    with torch.device("meta"):
        arrays = names_of(torchvision.models.wide_resnet50_2())
    with pytest.raises(ValueError, match="'layer1.0.conv1.weight' must have the shape"):
        load_checkpoint(arrays, allow_supervised=True)
