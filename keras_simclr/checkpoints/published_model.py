"""What is known of a published model."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class PublishedModel:
    """Describe a published model.

    Args:
        name: Name for `SimCLR.from_preset`.
        url: URL of its file or zip archive, "gs://bucket/folder/" or "hf://owner/repository".
        format: "SavedModel", "TensorFlow 1" or "PyTorch".
        source: URL of the project.
        license: License of the weights.
        depth: Depth of the ResNet.
        width: Factor of its channels. Defaults to 1.
        sk_ratio: Ratio of its selective kernels. Defaults to 0: it has none.
        channels: Channels of the images. Defaults to 3.
        kind: "pretrained", "supervised", "finetuned" on all labels, "finetuned_1pct",
            "finetuned_10pct", "finetuned_100pct" on as many, or "distilled_1pct" from a network
            that was fine-tuned on as many. Defaults to "pretrained".
        dataset: What it was trained on. Defaults to "ImageNet".
        accuracy: Top-1 on `dataset` in percent, as published: of a linear classifier on h for
            "pretrained" models, otherwise of the model's own. Defaults to None: not published.
        normalization: (mean, std) in [0, 1], numbers or one per channel, that the network
            expects. Defaults to None: that of the file's layout.
        style: Style of the `ResNet`. Defaults to None: that of the file's layout.
        head_on: What its classification head is applied to, "h" or "projection". Defaults to None:
            h, or the only one that fits.
        checksum: "md5:" or "sha256:" and the first digits of the checksum of the file. Defaults
            to None: not published; those in buckets are in the listing of the bucket.
        parameters: Parameters of the network, in millions. Defaults to None: not published.
        note: What else to know. Defaults to "".
    """

    name: str
    url: str
    format: str
    source: str
    license: str
    depth: int
    width: int = 1
    sk_ratio: float = 0.0
    channels: int = 3
    kind: str = "pretrained"
    dataset: str = "ImageNet"
    accuracy: float | None = None
    normalization: tuple[float | tuple[float, ...], float | tuple[float, ...]] | None = None
    style: str | None = None
    head_on: str | None = None
    checksum: str | None = None
    parameters: int | None = None
    note: str = ""

    @property
    def description(self) -> str:
        """One sentence about the model."""
        kernels = ", selective kernels" * bool(self.sk_ratio)
        parameters = f", {self.parameters} M parameters" if self.parameters else ""
        network = f"ResNet-{self.depth} ({self.width}x{kernels}{parameters})"
        top1 = f", top-1 {self.accuracy} % as published" if self.accuracy else ""
        return f"{network}, {self.kind}, {self.dataset}{top1}. {self.license}. {self.note}".strip()
