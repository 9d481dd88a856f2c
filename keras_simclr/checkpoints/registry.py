"""Published models: where their files are, and what their authors state about them."""

import difflib

from keras_simclr.checkpoints.published_model import PublishedModel

TF2_BUCKET = "gs://simclr-checkpoints-tf2"
TF1_BUCKET = "gs://simclr-checkpoints"
VISSL_URL = "https://dl.fbaipublicfiles.com/vissl/model_zoo"
MMSELFSUP_URL = "https://download.openmmlab.com/mmselfsup/1.x/simclr"
LIGHTLY_URL = "https://lightly-ssl-checkpoints.s3.amazonaws.com"
TORCHGEO_URL = (
    "https://hf.co/torchgeo/ssl4eo_landsat/resolve/1c88bb51b6e17a21dde5230738fa38b74bd74f76"
)
SPIJKERVET_URL = "https://github.com/Spijkervet/SimCLR/releases/download"
V1_URL = "https://storage.googleapis.com/simclr-gcs/checkpoints"
AUTHORS = "https://github.com/google-research/simclr"
SK_RATIO = 0.0625  # of the second paper

NO_NORMALIZATION = (0.0, 1.0)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# Depth, width, selective kernels: parameters in millions, and ImageNet top-1 after fine-tuning on
# 1 %, 10 % and 100 % of the labels, of a linear classifier, and of the supervised network
# (arXiv:2006.10029, table 1).
V2_KINDS = ("finetuned_1pct", "finetuned_10pct", "finetuned_100pct", "pretrained", "supervised")
ON_PROJECTION = ("finetuned_1pct", "finetuned_10pct")  # heads on its first layer (section 3.1)
LOW_ACCURACY = "A user measured 7.2 % with two of these (issue 215 of the project)."
V2 = {
    (50, 1, False): (24, 57.9, 68.4, 76.3, 71.7, 76.6),
    (50, 1, True): (35, 64.5, 72.1, 78.7, 74.6, 78.5),
    (50, 2, False): (94, 66.3, 73.9, 79.1, 75.6, 77.8),
    (50, 2, True): (140, 70.6, 77.0, 81.3, 77.7, 79.3),
    (101, 1, False): (43, 62.1, 71.4, 78.2, 73.6, 78.0),
    (101, 1, True): (65, 68.3, 75.1, 80.6, 76.3, 79.6),
    (101, 2, False): (170, 69.1, 75.8, 80.7, 77.0, 78.9),
    (101, 2, True): (257, 73.2, 78.8, 82.4, 79.0, 80.1),
    (152, 1, False): (58, 64.0, 73.0, 79.3, 74.5, 78.3),
    (152, 1, True): (89, 70.0, 76.5, 81.3, 77.2, 79.9),
    (152, 2, False): (233, 70.2, 76.6, 81.1, 77.4, 79.1),
    (152, 2, True): (354, 74.2, 79.4, 82.9, 79.4, 80.4),
    (152, 3, True): (795, 74.9, 80.1, 83.1, 79.8, 80.5),
}
V1_ACCURACY = {1: 69.1, 2: 74.2, 4: 76.6}  # by width, of a linear classifier
# By width, as measured in tf2/colabs/imagenet_results.ipynb of the authors.
V1_FINETUNED_ACCURACY = {
    "10pct": {1: 65.8, 2: 71.6, 4: 74.5},
    "100pct": {1: 75.6, 2: 79.2, 4: 80.8},
}
# Depth, width, epochs: linear top-1, and the end of the name of the folder.
VISSL = {
    (50, 1, 100): (64.4, "100ep_simclr_8node_resnet_16_07_20.8edb093e"),
    (50, 1, 200): (66.61, "200ep_simclr_8node_resnet_16_07_20.a816c0ef"),
    (50, 1, 400): (67.71, "400ep_simclr_8node_resnet_16_07_20.36b338ef"),
    (50, 1, 800): (69.68, "800ep_simclr_8node_resnet_16_07_20.7e8feed1"),
    (50, 1, 1000): (68.8, "1000ep_simclr_8node_resnet_16_07_20.afe428c7"),
    (50, 2, 100): (69.82, "100ep_simclr_8node_resnet_16_07_20.05b37ec3"),
    (50, 2, 1000): (73.84, "1000ep_simclr_8node_resnet_16_07_20.e1e3bbf0"),
    (50, 4, 1000): (71.61, "1000ep_bs32_16node_simclr_8node_resnet_28_07_20.9e20b0ae"),
    (101, 1, 100): (62.76, "100ep_simclr_8node_resnet_16_07_20.1ff6cb4b"),
    (101, 1, 1000): (71.56, "1000ep_simclr_8node_resnet_16_07_20.35063cea"),
}
# Batch size, epochs: linear top-1, run, first digits of the SHA-256 checksum.
MMSELFSUP = {
    (256, 200): (62.7, "simclr_resnet50_8xb32-coslr-200e_in1k", "15f807a4"),
    (4096, 200): (66.9, "simclr_resnet50_16xb256-coslr-200e_in1k", "4d9cce50"),
    (4096, 800): (69.2, "simclr_resnet50_16xb256-coslr-800e_in1k", "85fcc4de"),
}
# Loss: linear top-1, and the end of the name of the folder.
LIGHTLY = {
    "simclr": (63.2, "simclr_2023-06-22_09-11-13"),
    "dcl": (65.1, "dcl_2023-07-04_16-51-40"),
    "dclw": (64.5, "dclw_2023-07-07_14-57-13"),
}
# Product: channels, and the first digits of the SHA-256 checksums of ResNet-18 and ResNet-50.
LANDSAT = {
    "tm_toa": (7, "d2d38ace", "a1c93432"),
    "etm_toa": (9, "4d813f79", "70b5575f"),
    "etm_sr": (6, "8e8543b4", "e5d185d7"),
    "oli_tirs_toa": (11, "b0635cc6", "030cebfe"),
    "oli_sr": (7, "7bced5be", "94f78913"),
}
# Depth, epochs: linear top-1 on STL-10, and the release.
SPIJKERVET = {(18, 40): (71.9, "1.0"), (18, 100): (76.5, "1.1"), (50, 100): (82.9, "1.2")}
# Depth, dataset: top-1.
EDADALTOCG = {(34, "cifar10"): 89.99, (50, "cifar10"): 90.12, (34, "cifar100"): None}
CIFAR = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}


def _authors(**arguments):
    return PublishedModel(source=AUTHORS, license="Apache-2.0", **arguments)


def _simclr_v2():
    for shape, (_, *accuracies) in V2.items():
        stem, folder, network = _v2_network(*shape)
        for kind, accuracy in zip(V2_KINDS, accuracies, strict=True):
            name = stem if kind == "pretrained" else f"{stem}_{kind}"
            facts = {**network, "kind": kind, "accuracy": accuracy}
            facts["head_on"] = "projection" if kind in ON_PROJECTION else None
            note = LOW_ACCURACY if kind == "finetuned_10pct" else ""
            yield from _two_formats(name, f"simclrv2/{kind}/{folder}", note, **facts)
        url = f"hf://lightly-ai/simclrv2-imagenet1k-{folder}"
        facts = {**network, "accuracy": accuracies[V2_KINDS.index("pretrained")]}
        yield _converted(f"{stem}_pytorch", url, **facts)


def _v2_network(depth, width, has_sk):
    """Return the start of the names of a network, its folder in the buckets, and its facts."""
    facts = {"depth": depth, "width": width, "sk_ratio": SK_RATIO * has_sk}
    facts["parameters"] = V2[depth, width, has_sk][0]
    name = f"resnet{depth}_{width}x{'_sk1' * has_sk}_simclr_v2"
    return name, f"r{depth}_{width}x_sk{int(has_sk)}", facts


def _self_distilled():
    stem, folder, network = _v2_network(152, 3, True)
    yield _authors(
        name=f"{stem}_distilled_1pct_tf1",
        url=f"{TF1_BUCKET}/simclrv2/distill_1pct/{folder}/{folder}/",  # issue 130 of the project
        format="TensorFlow 1",
        kind="distilled_1pct",
        **network,
    )


def _simclr_v1():
    for width, accuracy in V1_ACCURACY.items():
        stem, facts = f"resnet50_{width}x_simclr_v1", {"depth": 50, "width": width}
        yield from _two_formats(stem, f"simclrv1/pretrain/{width}x", accuracy=accuracy, **facts)
        for part in ("10pct", "100pct"):
            kind = f"finetuned_{part}"
            path = f"simclrv1/finetune_{part}/{width}x"
            tuned = {**facts, "kind": kind, "accuracy": V1_FINETUNED_ACCURACY[part][width]}
            yield from _two_formats(f"{stem}_{kind}", path, **tuned)
        url = f"{V1_URL}/ResNet50_{width}x.zip"
        note = "Without its projection head."
        zipped = {"format": "TensorFlow 1", "accuracy": accuracy, "note": note}
        yield _authors(name=f"{stem}_zip", url=url, **zipped, **facts)
        url = f"hf://lightly-ai/simclrv1-imagenet1k-resnet50-{width}x"
        yield _converted(f"{stem}_pytorch", url, accuracy=accuracy, **facts)


def _two_formats(name, path, tf1_note="", **facts):
    url = f"{TF2_BUCKET}/{path}/saved_model/"
    yield _authors(name=name, url=url, format="SavedModel", **facts)
    url = f"{TF1_BUCKET}/{path}/"
    yield _authors(name=f"{name}_tf1", url=url, format="TensorFlow 1", note=tf1_note, **facts)


def _converted(name, url, **facts):
    note = "Converted from the authors' weights by lightly-ai."
    own = {"normalization": NO_NORMALIZATION, "style": "simclr", "note": note}
    return _authors(name=name, url=url, format="PyTorch", **own, **facts)


def _vissl():
    for (depth, width, epochs), (accuracy, folder) in VISSL.items():
        network = f"rn{depth}{f'w{width}' if width > 1 else ''}"
        yield PublishedModel(
            name=f"resnet{depth}_{width}x_simclr_vissl_{epochs}ep",
            url=f"{VISSL_URL}/simclr_{network}_{folder}/"
            f"model_final_checkpoint_phase{epochs - 1}.torch",
            format="PyTorch",
            source="https://github.com/facebookresearch/vissl",
            license="MIT",
            depth=depth,
            width=width,
            accuracy=accuracy,
            normalization=IMAGENET,
        )


def _mmselfsup():
    for (batch_size, epochs), (accuracy, run, digits) in MMSELFSUP.items():
        yield PublishedModel(
            name=f"resnet50_1x_simclr_mmselfsup_{epochs}ep_batch{batch_size}",
            url=f"{MMSELFSUP_URL}/{run}/{run}_20220825-{digits}.pth",
            format="PyTorch",
            source="https://github.com/open-mmlab/mmselfsup",
            license="Apache-2.0",
            depth=50,
            accuracy=accuracy,
            normalization=IMAGENET,
            checksum=f"sha256:{digits}",
        )


def _lightly():
    for loss, (accuracy, folder) in LIGHTLY.items():
        yield PublishedModel(
            name=f"resnet50_1x_{loss}_lightly_100ep",
            url=f"{LIGHTLY_URL}/imagenet_resnet50_{folder}/pretrain/version_0/checkpoints/"
            "epoch%3D99-step%3D500400.ckpt",
            format="PyTorch",
            source="https://github.com/lightly-ai/lightly",
            license="MIT",
            depth=50,
            accuracy=accuracy,
            normalization=IMAGENET,
        )


def _landsat():
    for product, (channels, *digits) in LANDSAT.items():
        for depth, checksum in zip((18, 50), digits, strict=True):
            yield PublishedModel(
                name=f"resnet{depth}_1x_simclr_landsat_{product}",
                url=f"{TORCHGEO_URL}/resnet{depth}_landsat_{product}_simclr-{checksum}.pth",
                format="PyTorch",
                source="https://github.com/torchgeo/torchgeo",
                license="CC0-1.0",
                depth=depth,
                channels=channels,
                dataset="Landsat (SSL4EO-L)",
                normalization=NO_NORMALIZATION,
                checksum=f"sha256:{checksum}",
                note="Land-cover accuracies: arXiv:2306.09424.",
            )


def _small_datasets():
    for (depth, epochs), (accuracy, release) in SPIJKERVET.items():
        yield PublishedModel(
            name=f"resnet{depth}_1x_simclr_stl10_{epochs}ep",
            url=f"{SPIJKERVET_URL}/{release}/checkpoint_{epochs}.tar",
            format="PyTorch",
            source="https://github.com/Spijkervet/SimCLR",
            license="MIT",
            depth=depth,
            dataset="STL-10",
            accuracy=accuracy,
            normalization=NO_NORMALIZATION,
        )
    for (depth, dataset), top1 in EDADALTOCG.items():
        yield PublishedModel(
            name=f"resnet{depth}_1x_simclr_{dataset}_finetuned",
            url=f"hf://edadaltocg/resnet{depth}_simclr_{dataset}",
            format="PyTorch",
            source="https://github.com/edadaltocg/detectors",
            license="MIT",
            depth=depth,
            kind="finetuned",
            dataset=dataset.upper().replace("CIFAR", "CIFAR-"),
            accuracy=top1,
            normalization=CIFAR[dataset],
        )
    for dataset in ("ImageNet1K", "ImageNet100"):
        yield PublishedModel(
            name=f"resnet18_1x_simclr_{dataset.lower()}_diaz",
            url=f"hf://DM-Diaz/SimCLR-ResNet18-{dataset}",
            format="PyTorch",
            source=f"https://huggingface.co/DM-Diaz/SimCLR-ResNet18-{dataset}",
            license="Apache-2.0",
            depth=18,
            dataset=dataset,
            normalization=IMAGENET,
        )


SOURCES = (
    _simclr_v2,
    _self_distilled,
    _simclr_v1,
    _vissl,
    _mmselfsup,
    _lightly,
    _landsat,
    _small_datasets,
)
PUBLISHED_MODELS = {model.name: model for source in SOURCES for model in source()}


def published_model(name: str) -> PublishedModel:
    """Return the published model of a name.

    Args:
        name: One of `PUBLISHED_MODELS`.

    Returns:
        A `PublishedModel`.

    Raises:
        ValueError: If there is none of that name.

    Example:
    >>> published_model("resnet50_1x_simclr_v2").accuracy
    71.7
    """
    if name in PUBLISHED_MODELS:
        return PUBLISHED_MODELS[name]
    similar = difflib.get_close_matches(name, PUBLISHED_MODELS, n=3, cutoff=0.5)
    raise ValueError(
        f"There is no published model, file or folder of this name. Received: {name!r}. "
        f"{f'Similar names: {similar}. ' if similar else ''}`SimCLR.presets` has all names."
    )
