import keras
import numpy as np
import pytest


@pytest.fixture
def assert_fine_tunes():
    """Return a function that fine-tunes a classifier: the loss falls, and all weights change."""

    def check(classifier, images):
        before = classifier.get_weights()
        eager = keras.backend.backend() == "tensorflow"  # compiling takes longer than three steps
        classifier.compile(
            keras.optimizers.SGD(1e-4), "sparse_categorical_crossentropy", run_eagerly=eager
        )
        labels = np.arange(len(images))
        losses = [classifier.train_on_batch(images, labels) for _ in range(3)]
        assert losses[-1] < losses[0]
        for weight, old in zip(classifier.get_weights(), before, strict=True):
            assert not np.array_equal(weight, old)

    return check
