"""A checkpoint of the authors' code as a model, against all outputs of that code.

Its weights are drawn by their names, by the rule with which the authors' code was given them.
"""

import keras
import numpy as np
import pytest
from authors_files import authors_variables, drawn, reference, write_tf1

from keras_simclr.models import feature_maps, load_checkpoint

BLOCK_GROUPS = [f"block_group{number}" for number in (1, 2, 3, 4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    arrays = {
        v.tf1: drawn(v.tf1, v.shape, steps=4).astype("float32") for v in authors_variables(18)
    }
    return write_tf1(arrays, tmp_path_factory.mktemp("tf1"))


@pytest.fixture(scope="module")
def loaded(folder):
    return load_checkpoint(folder, value_range=(0, 1), seed=0)


@pytest.fixture(scope="module")
def outputs(folder, loaded):
    """Return what the loaded models give, by the names of the reference."""
    images = reference("checkpoint_resnet18")["x"]
    other = load_checkpoint(folder, value_range=(0, 1), head_on="projection", seed=0)
    maps = feature_maps(loaded.model.encoder).predict(images, verbose=0)
    h = maps.pop("final_avg_pool")
    return {
        "h": h,
        "z": keras.ops.convert_to_numpy(loaded.model.projection_head(h)),
        "logits": logits(loaded.classifier, images),
        "logits_on_projection": logits(other.classifier, images),
        **{name: feature_map.mean((1, 2)) for name, feature_map in maps.items()},
    }


def logits(classifier, images):
    model = keras.Model(classifier.inputs, classifier.get_layer("logits").output)
    return model.predict(images, verbose=0)


@pytest.mark.parametrize(
    "name",
    ["h", "z", "logits", "logits_on_projection", "initial_conv", "initial_max_pool", *BLOCK_GROUPS],
)
def test_each_output_agrees_with_the_authors(name, outputs):
    expected = reference("checkpoint_resnet18")[name]
    assert outputs[name].shape == expected.shape
    assert np.abs(outputs[name] - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_loaded_encoder_fine_tunes(folder, assert_fine_tunes):
    classifier = load_checkpoint(folder, value_range=(0, 1), seed=0).classifier
    assert_fine_tunes(classifier, reference("checkpoint_resnet18")["x"])
