"""The health of features during `fit`, without labels."""

from typing import Any

from keras_simclr.callbacks.monitors import Monitor, sampled
from keras_simclr.evaluation.health import embedding_health

LOGGED = ("effective_rank", "uniformity", "dead_dimensions", "norm_spread")


class EmbeddingHealth(Monitor):
    """Log the effective rank and other measures of the features during `fit`, without labels.

    The logs get `effective_rank`, `uniformity`, `dead_dimensions` and `norm_spread` of
    `keras_simclr.evaluation.embedding_health`. An effective rank that falls, or a uniformity that
    rises to 0, is a sign of collapse.

    Args:
        images: Array of shape (N, H, W, C), ideally of images that are not used for training.
        every: Number of epochs from one measurement to the next. The first and the last epoch are
            always measured; epochs in between repeat the last values. Defaults to 1.
        max_images: Maximum number of images, drawn at random. Defaults to 2048.
        seed: Seed of that draw. Defaults to 0.

    Raises:
        ValueError: If `images` is not an array of images, or a number is not positive.

    Example:
    >>> import numpy as np
    >>> health = EmbeddingHealth(np.zeros((8, 32, 32, 3), "uint8"), every=5)
    >>> # model.fit(unlabeled, epochs=100, callbacks=[health])

    References:
        Wang and Isola 2020 (arXiv:2005.10242); Garrido et al. 2023 (arXiv:2210.02885).
    """

    def __init__(self, images: Any, every: int = 1, max_images: int = 2048, seed: int = 0) -> None:
        super().__init__(every, sampled(images, max_images, seed)[0])

    def measure(self) -> dict[str, float]:
        """Return the numbers to log."""
        report = embedding_health(self.images[0], model=self.model).to_dict()
        return {name: report[name] for name in LOGGED}
