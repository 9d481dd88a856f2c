"""Every form of the same computation on rows against plain NumPy, eager and compiled."""

import numpy as np
import pytest
from keras import ops

from keras_simclr.ops.row_chunks import scan_chunks, set_in_rows


def cumulate(carry, tensors):
    """Return the sum of all rows so far, and each row of the first with that of the second."""
    x, y = tensors
    return carry + ops.sum(x, axis=0), ops.concatenate([x, y[:, None]], axis=1)


@pytest.mark.parametrize("chunk_size", [1, 5, 13, 20])
def test_rows_and_carry_do_not_depend_on_the_chunk_size(chunk_size, rng, execute):
    x, y = rng.normal(size=(13, 2)).astype("float32"), rng.normal(size=13).astype("float32")
    carry, rows = execute(
        lambda x, y: scan_chunks(cumulate, ops.zeros(2), (x, y), chunk_size), x, y
    )
    np.testing.assert_allclose(carry, x.sum(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rows, np.column_stack([x, y]))


def test_the_carry_passes_from_chunk_to_chunk(execute):
    def count(carry, tensors):
        (x,) = tensors
        return carry + 1.0, x + carry[0]

    carry, rows = execute(
        lambda x: scan_chunks(count, ops.zeros(1), (x,), 3), np.zeros((8, 1), "float32")
    )
    assert carry.tolist() == [3.0]
    assert rows[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2]


def test_entries_of_rows_are_set(rng, execute):
    matrix = rng.normal(size=(3, 5)).astype("float32")
    columns = np.array([[4, 0, 2], [1, 0, 3]], "int32")
    found = execute(
        lambda matrix, *columns: set_in_rows(matrix, columns, -7.0), matrix.copy(), *columns
    )
    expected = matrix.copy()
    for column in columns:
        expected[np.arange(3), column] = -7.0
    np.testing.assert_array_equal(found, expected)
