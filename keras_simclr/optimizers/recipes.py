"""Presets of training: optimizer, learning rate, weight decay, warm-up, temperature."""

import dataclasses
import math

import keras

from keras_simclr.optimizers.conv_muon import ConvMuon
from keras_simclr.optimizers.lars import LARS
from keras_simclr.validation import check_choice, check_positive
from keras_simclr.view_size import is_small_view

OPTIMIZERS = {
    "lars": LARS,
    "sgd": keras.optimizers.SGD,
    "adamw": keras.optimizers.AdamW,
    "muon": ConvMuon,
}
SCALINGS = {
    "constant": lambda rate, batch_size: rate,
    "linear": lambda rate, batch_size: rate * batch_size / 256,
    "sqrt": lambda rate, batch_size: rate * math.sqrt(batch_size),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """An optimizer whose learning rate warms up linearly and then follows a cosine to zero.

    Args:
        optimizer: "lars", "sgd", "adamw" or "muon".
        rate: Learning rate before it is scaled by the batch size.
        scaling: "constant" (rate), "linear" (rate * batch_size / 256) or "sqrt"
            (rate * sqrt(batch_size)).
        weight_decay: L2 with "lars", decoupled with the others. Defaults to 0.
        momentum: Momentum of all but "adamw". Defaults to 0.9.
        nesterov: Whether the momentum is Nesterov's. Defaults to False.
        warmup_epochs: Length of the warm-up, at most a tenth of the steps. Defaults to 10.
        temperature: Temperature of NT-Xent. Defaults to None, for training with labels.
        crop_area: (lower, upper) area of the crops, as a fraction of the image's. Defaults to
            (0.08, 1.0).
        epochs: Epochs of the published runs, for information only. Defaults to None: there is no
            such run.

    Raises:
        ValueError: If the optimizer or the scaling is unknown.

    Example:
    >>> CIFAR.describe(batch_size=512, total_steps=97_000, steps_per_epoch=97)
    'LARS, peak rate 2, warm-up 970 of 97000 steps, temperature 0.5'
    """

    optimizer: str
    rate: float
    scaling: str
    weight_decay: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    warmup_epochs: int = 10
    temperature: float | None = None
    crop_area: tuple[float, float] = (0.08, 1.0)
    epochs: int | None = None

    def __post_init__(self):
        """Check the names."""
        check_choice("optimizer", self.optimizer, sorted(OPTIMIZERS))
        check_choice("scaling", self.scaling, sorted(SCALINGS))

    def peak_rate(self, batch_size: int) -> float:
        """Return the learning rate at the end of the warm-up."""
        return SCALINGS[self.scaling](self.rate, batch_size)

    def warmup_steps(self, total_steps: int, steps_per_epoch: int) -> int:
        """Return the steps of the warm-up: `warmup_epochs`, at most a tenth of the run."""
        return min(self.warmup_epochs * steps_per_epoch, total_steps // 10)

    def make_schedule(
        self, batch_size: int, total_steps: int, steps_per_epoch: int
    ) -> keras.optimizers.schedules.CosineDecay:
        """Return the schedule of the learning rate over `total_steps`."""
        warmup_steps = self.warmup_steps(total_steps, steps_per_epoch)
        return warmup_cosine(self.peak_rate(batch_size), total_steps, warmup_steps)

    def make_optimizer(
        self, batch_size: int, total_steps: int, steps_per_epoch: int
    ) -> keras.optimizers.Optimizer:
        """Return a new optimizer with the schedule over `total_steps`."""
        schedule = self.make_schedule(batch_size, total_steps, steps_per_epoch)
        options: dict[str, float | bool] = {"weight_decay": self.weight_decay}
        if self.optimizer != "adamw":
            options |= {"momentum": self.momentum, "nesterov": self.nesterov}
        if self.optimizer == "muon":
            options |= {"adam_weight_decay": self.weight_decay}
        return OPTIMIZERS[self.optimizer](schedule, **options)

    def describe(
        self,
        batch_size: int,
        total_steps: int,
        steps_per_epoch: int,
        temperature: float | None = None,
    ) -> str:
        """Return one line about the training that `make_optimizer` of the same arguments plans.

        `temperature` is that of the loss, if it is not the recipe's.
        """
        warmup_steps = self.warmup_steps(total_steps, steps_per_epoch)
        temperature = temperature or self.temperature
        parts = [
            OPTIMIZERS[self.optimizer].__name__,
            f"peak rate {self.peak_rate(batch_size):.4g}",
            f"warm-up {warmup_steps} of {total_steps} steps",
        ]
        if temperature is not None:
            parts.append(f"temperature {temperature:g}")
        return ", ".join(parts)


# Pretraining: Chen et al. 2020 (arXiv:2002.05709), appendix B.1 and B.9, and the commands in the
# authors' code.
IMAGENET = Recipe(
    optimizer="lars",
    rate=0.075,  # 0.075 * sqrt(batch_size): 4.8 at the paper's 4096
    scaling="sqrt",
    weight_decay=1e-4,
    temperature=0.1,
    epochs=1000,
)
CIFAR = Recipe(
    optimizer="lars",
    rate=1.0,  # 1.0 * batch_size / 256: 2.0 at the paper's 512
    scaling="linear",
    weight_decay=1e-4,
    temperature=0.5,
    epochs=1000,
)

# Pretraining for few epochs: not from a paper, but found by measuring (docs/recipes.md).
MAX_FEW_EPOCHS = 100
FEW_EPOCHS = Recipe(
    optimizer="muon",
    rate=1.1e-3,  # 1.1e-3 * sqrt(batch_size): 0.018 at 256
    scaling="sqrt",
    weight_decay=0.1,
    nesterov=True,
    temperature=0.1,
    crop_area=(0.2, 1.0),
)

# Pretraining with small batches: the first author's advice, for CIFAR together with a projection
# head of 2 layers of width 64.
IMAGENET_SMALL_BATCH = Recipe(
    optimizer="lars",
    rate=0.075,  # 0.075 * sqrt(batch_size): 1.2 at 256
    scaling="sqrt",
    weight_decay=1e-4,
    temperature=0.2,
)
CIFAR_SMALL_BATCH = Recipe(
    optimizer="lars",
    rate=0.2,  # 0.2 * sqrt(batch_size): 3.2 at 256
    scaling="sqrt",
    weight_decay=1e-4,
    temperature=0.2,
)

# Linear evaluation, on frozen features: arXiv:2002.05709, appendix B.6.
LINEAR_EVALUATION = Recipe(
    optimizer="sgd",
    rate=0.1,  # 0.1 * batch_size / 256: 1.6 at the paper's 4096
    scaling="linear",
    nesterov=True,
    warmup_epochs=0,
    epochs=100,
)

# Fine-tuning on a part of the labels: Chen et al. 2020 (arXiv:2006.10029), section 3.1. WIDE is
# for wider networks and those with selective kernels.
FINE_TUNE_1_PERCENT = Recipe(
    optimizer="lars",
    rate=0.005,  # 0.005 * sqrt(batch_size): 0.16 at the paper's 1024
    scaling="sqrt",
    warmup_epochs=0,
    epochs=60,
)
FINE_TUNE_10_PERCENT = Recipe(
    optimizer="lars",
    rate=0.005,  # 0.005 * sqrt(batch_size): 0.16 at the paper's 1024
    scaling="sqrt",
    warmup_epochs=0,
    epochs=30,
)
FINE_TUNE_WIDE = Recipe(
    optimizer="lars",
    rate=0.002,  # 0.002 * sqrt(batch_size): 0.064 at the paper's 1024
    scaling="sqrt",
    warmup_epochs=0,
    epochs=30,
)

# Any training on fewer than MANY_LABELS labels: not from a paper, with Keras' default weight
# decay. A pretrained encoder, whose logits start as a linear probe, needs smaller steps; crops
# below MIN_AREA of an image cost more than they gain (benchmarks/RESULTS.md).
MANY_LABELS = 10_000
MIN_AREA = 0.6
FEW_LABELS = Recipe(
    optimizer="adamw",
    rate=1e-3,
    scaling="constant",
    weight_decay=0.004,
    warmup_epochs=0,
)
FEW_LABELS_PRETRAINED = Recipe(
    optimizer="adamw",
    rate=3e-4,
    scaling="constant",
    weight_decay=0.004,
    warmup_epochs=0,
)


def pretraining_recipe(height: int, width: int, epochs: int | None = None) -> Recipe:
    """Choose the recipe for pretraining.

    Args:
        height: Height of the views in pixels.
        width: Width of the views in pixels.
        epochs: Length of the run. Defaults to None, not known.

    Returns:
        `FEW_EPOCHS` for at most 100 epochs; otherwise `CIFAR` if both sides are at most 32
        pixels, and `IMAGENET` if not.

    Example:
    >>> pretraining_recipe(32, 32).temperature, pretraining_recipe(96, 96).temperature
    (0.5, 0.1)
    """
    if epochs is not None and epochs <= MAX_FEW_EPOCHS:
        return FEW_EPOCHS
    return CIFAR if is_small_view(height, width) else IMAGENET


def warmup_cosine(
    peak: float, total_steps: int, warmup_steps: int = 0
) -> keras.optimizers.schedules.CosineDecay:
    """Create the papers' schedule: linear from 0 to `peak`, then a cosine to 0.

    Args:
        peak: Learning rate at step `warmup_steps`.
        total_steps: Step at which the learning rate reaches 0, where it stays.
        warmup_steps: Length of the warm-up. Defaults to 0: the first rate is `peak`.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`.

    Raises:
        ValueError: If there are no steps, or the warm-up leaves none for the cosine.

    Example:
    >>> schedule = warmup_cosine(2.0, total_steps=100, warmup_steps=10)
    >>> [round(float(schedule(step)), 3) for step in (0, 5, 10, 55, 100)]
    [0.0, 1.0, 2.0, 1.0, 0.0]
    """
    check_positive("total_steps", total_steps, "Train for at least one step.")
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(
            "`warmup_steps` must be at least 0 and below `total_steps`. "
            f"Received: warmup_steps={warmup_steps}, total_steps={total_steps}."
        )
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(float(peak), total_steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, total_steps - warmup_steps, warmup_target=float(peak), warmup_steps=warmup_steps
    )
