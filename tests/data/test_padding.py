import numpy as np

from keras_simclr import distribution
from keras_simclr.data.padding import pad_batches, remove_padding


def test_the_rows_of_the_padding_are_removed(monkeypatch):
    monkeypatch.setattr(distribution, "num_devices", lambda: 4)
    batches = [np.arange(8).reshape(8, 1), np.arange(8, 13).reshape(5, 1)]
    padded, counts = pad_batches(batches)
    rows = [batch[0] for batch in padded]
    assert [len(batch) for batch in rows] == [8, 8]
    np.testing.assert_array_equal(
        remove_padding(np.concatenate(rows), counts).ravel(), np.arange(13)
    )
