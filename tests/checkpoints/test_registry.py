import dataclasses
import json
import re
from urllib.parse import urlsplit

import pytest

from keras_simclr import SimCLR
from keras_simclr.checkpoints import PublishedModel, published_model
from keras_simclr.checkpoints.registry import PUBLISHED_MODELS

pytestmark = pytest.mark.once

MODELS = list(PUBLISHED_MODELS.values())


def test_every_published_network_of_the_second_paper_is_there_in_every_kind():
    for depth, width, has_sk in [(50, 1, 0), (101, 2, 1), (152, 1, 0), (152, 3, 1)]:
        stem = f"resnet{depth}_{width}x{'_sk1' * has_sk}_simclr_v2"
        for kind in ("", "_finetuned_1pct", "_finetuned_10pct", "_finetuned_100pct", "_supervised"):
            model = PUBLISHED_MODELS[stem + kind]
            assert (model.depth, model.width, bool(model.sk_ratio)) == (depth, width, has_sk)


def test_the_bucket_folders_are_those_of_the_authors():
    assert PUBLISHED_MODELS["resnet50_1x_simclr_v2_finetuned_100pct"].url == (
        "gs://simclr-checkpoints-tf2/simclrv2/finetuned_100pct/r50_1x_sk0/saved_model/"
    )
    assert PUBLISHED_MODELS["resnet152_3x_sk1_simclr_v2_tf1"].url == (
        "gs://simclr-checkpoints/simclrv2/pretrained/r152_3x_sk1/"
    )
    assert PUBLISHED_MODELS["resnet50_4x_simclr_v1_finetuned_10pct"].url == (
        "gs://simclr-checkpoints-tf2/simclrv1/finetune_10pct/4x/saved_model/"
    )
    assert PUBLISHED_MODELS["resnet50_2x_simclr_v1_zip"].url == (
        "https://storage.googleapis.com/simclr-gcs/checkpoints/ResNet50_2x.zip"
    )


def test_the_urls_of_other_projects_are_theirs():
    assert PUBLISHED_MODELS["resnet50_4x_simclr_vissl_1000ep"].url == (
        "https://dl.fbaipublicfiles.com/vissl/model_zoo/simclr_rn50w4_1000ep_bs32_16node_simclr_"
        "8node_resnet_28_07_20.9e20b0ae/model_final_checkpoint_phase999.torch"
    )
    assert PUBLISHED_MODELS["resnet50_1x_simclr_mmselfsup_800ep_batch4096"].url == (
        "https://download.openmmlab.com/mmselfsup/1.x/simclr/simclr_resnet50_16xb256-coslr-800e_"
        "in1k/simclr_resnet50_16xb256-coslr-800e_in1k_20220825-85fcc4de.pth"
    )
    assert PUBLISHED_MODELS["resnet18_1x_simclr_landsat_tm_toa"].url.endswith(
        "/resnet18_landsat_tm_toa_simclr-d2d38ace.pth"
    )


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [
        ("resnet50_1x_simclr_v2", 71.7),
        ("resnet50_1x_simclr_v2_finetuned_1pct", 57.9),
        ("resnet50_1x_simclr_v2_finetuned_10pct", 68.4),
        ("resnet50_1x_simclr_v2_finetuned_100pct", 76.3),
        ("resnet50_1x_simclr_v2_supervised", 76.6),
        ("resnet152_3x_sk1_simclr_v2", 79.8),
        ("resnet50_2x_simclr_v1", 74.2),
        ("resnet50_4x_simclr_v1_zip", 76.6),
        ("resnet50_1x_simclr_v1_finetuned_10pct", 65.8),
        ("resnet50_4x_simclr_v1_finetuned_100pct_tf1", 80.8),
        ("resnet101_1x_simclr_vissl_1000ep", 71.56),
        ("resnet50_1x_dcl_lightly_100ep", 65.1),
    ],
)
def test_accuracies_are_those_that_were_published(name, accuracy):
    assert PUBLISHED_MODELS[name].accuracy == accuracy


def test_landsat_models_take_the_channels_of_their_product():
    channels = {model.channels for model in MODELS if "landsat" in model.name}
    assert channels == {6, 7, 9, 11}


def test_hashes_in_names_of_files_are_checked():
    pattern = r"-([0-9a-f]{8})\.pth$"
    found = {m.name: re.search(pattern, m.url) for m in MODELS if re.search(pattern, m.url)}
    assert len(found) == 13
    for name, match in found.items():
        assert PUBLISHED_MODELS[name].checksum == f"sha256:{match[1]}"


def test_a_checksum_is_an_algorithm_and_digits():
    for model in MODELS:
        assert model.checksum is None or re.fullmatch("(md5|sha256):[0-9a-f]{8,}", model.checksum)


def test_names_are_safe_names_of_folders():
    assert all(re.fullmatch("[a-z0-9_]+", model.name) for model in MODELS)


def test_no_two_models_have_the_same_name_or_url():
    assert len({model.name for model in MODELS}) == len({model.url for model in MODELS})


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_record_is_complete(model):
    assert urlsplit(model.url).scheme in {"gs", "https", "hf"} and urlsplit(model.url).netloc
    assert model.format in {"SavedModel", "TensorFlow 1", "PyTorch"}
    assert model.license in {"Apache-2.0", "MIT", "CC0-1.0"}
    assert model.source.startswith("https://")
    assert model.depth in {18, 34, 50, 101, 152} and model.width in {1, 2, 3, 4}


def test_an_unknown_name_lists_similar_ones():
    with pytest.raises(ValueError, match="'resnet50_1x_simclr_v2'.*`SimCLR.presets` has all names"):
        published_model("resnet50_1x_simclr_v")


def test_presets_describe_every_published_model_in_plain_values():
    assert set(SimCLR.presets) == set(PUBLISHED_MODELS)
    described = json.loads(json.dumps(dict(SimCLR.presets)))["resnet50_2x_sk1_simclr_v2"]
    assert described["description"] == (
        "ResNet-50 (2x, selective kernels, 140 M parameters), pretrained, ImageNet, top-1 77.7 % "
        "as published. Apache-2.0."
    )


def test_a_description_warns_of_a_doubtful_accuracy():
    name = "resnet50_1x_simclr_v2_finetuned_10pct"
    assert "measured 7.2 %" in SimCLR.presets[f"{name}_tf1"]["description"]
    # With the SavedModel the authors measured what they had published.
    assert "measured" not in SimCLR.presets[name]["description"]


def test_of_distilled_networks_only_the_one_is_listed_whose_folder_is_known():
    distilled = [model for model in MODELS if "distill" in model.url]
    assert [model.url for model in distilled] == [
        "gs://simclr-checkpoints/simclrv2/distill_1pct/r152_3x_sk1/r152_3x_sk1/"
    ]
    assert (distilled[0].kind, distilled[0].accuracy) == ("distilled_1pct", None)


def test_presets_cannot_be_changed():
    with pytest.raises(TypeError):
        SimCLR.presets["mine"] = {}


def test_records_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MODELS[0].url = "https://elsewhere"


def test_users_can_describe_a_published_model():
    model = PublishedModel("mine", "https://x/mine.pth", "PyTorch", "https://x", "MIT", depth=18)
    assert model.description == "ResNet-18 (1x), pretrained, ImageNet. MIT."


def test_heads_of_networks_tuned_on_few_labels_are_on_the_projection_head():
    places = {
        kind: PUBLISHED_MODELS[f"resnet50_1x_simclr_v2_finetuned_{kind}"].head_on
        for kind in ("1pct", "10pct", "100pct")
    }
    assert places == {"1pct": "projection", "10pct": "projection", "100pct": None}
