"""The accuracy of nearest neighbors during `fit`."""

from typing import Any

import numpy as np

from keras_simclr.callbacks.monitors import Monitor, sampled
from keras_simclr.evaluation.features import check_labels, encode_labels
from keras_simclr.evaluation.knn import knn_accuracy
from keras_simclr.validation import check_positive, check_positive_integer


class KNNMonitor(Monitor):
    """Log `knn_accuracy`, the accuracy of nearest neighbors on the features, during `fit`.

    The labels are only used for this; they do not influence training. `ModelCheckpoint`,
    `EarlyStopping`, `CSVLogger` and `TensorBoard` can use the value, as `monitor="knn_accuracy"`,
    `mode="max"`.

    A measurement computes the features of all images once, about a sixth of the work of training
    on them: that takes a forward and a backward pass for each of two views.

    Args:
        train_images: Array of shape (M, H, W, C), the bank.
        train_labels: Classes of the bank, of shape (M,).
        test_images: Array of shape (N, H, W, C) to classify.
        test_labels: True classes of the test images, of shape (N,).
        every: Number of epochs from one measurement to the next. The first and the last epoch are
            always measured; epochs in between repeat the last value. Defaults to 1.
        k: As in `keras_simclr.evaluation.knn_accuracy`. Defaults to None: `min(200, sqrt(M))`.
        temperature: Temperature of the votes, positive. Defaults to 0.1.
        max_images: Maximum number of images of each of the two arrays, drawn at random. Defaults
            to 5000.
        seed: Seed of that draw. Defaults to 0.

    Raises:
        ValueError: If shapes do not match, or a number is not positive.

    Example:
    >>> images, labels = np.zeros((8, 32, 32, 3), "uint8"), np.arange(8) % 2
    >>> monitor = KNNMonitor(images, labels, images, labels, every=5)
    >>> # model.fit(unlabeled, epochs=100, callbacks=[monitor])

    References:
        Wu et al. 2018 (arXiv:1805.01978), section 3.4.
    """

    def __init__(
        self,
        train_images: Any,
        train_labels: Any,
        test_images: Any,
        test_labels: Any,
        every: int = 1,
        k: int | None = None,
        temperature: float = 0.1,
        max_images: int = 5000,
        seed: int = 0,
    ) -> None:
        if k is not None:
            check_positive_integer("k", k)
        check_positive("temperature", temperature)
        self._bank = _labeled(train_images, train_labels, "train_images", max_images, seed)
        encode_labels(self._bank[1])
        self._test = _labeled(test_images, test_labels, "test_images", max_images, seed)
        super().__init__(every, self._bank[0], self._test[0])
        self.k, self.temperature = k, temperature

    def measure(self) -> dict[str, float]:
        """Return `knn_accuracy`."""
        options = {"k": self.k, "temperature": self.temperature, "model": self.model}
        return {"knn_accuracy": knn_accuracy(*self._bank, *self._test, **options)}


def _labeled(images, labels, name, count, seed):
    images_used, chosen = sampled(images, count, seed)
    return images_used, np.asarray(check_labels(labels, len(images), name))[chosen]
