import json
import tracemalloc

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from keras_simclr.evaluation import nearest_neighbors
from keras_simclr.ops import forms, nearest


@pytest.fixture(params=["cpu", "gpu"])
def form(request):
    """Take the form for this device; both run on any."""
    with forms.form(request.param):
        yield


@pytest.fixture
def bank(rng):
    return rng.normal(size=(60, 8))


@pytest.fixture
def queries(rng):
    return rng.normal(size=(25, 8)) * 10


def cosines(queries, bank):
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, bank)]
    return unit[0] @ unit[1].T


@pytest.mark.usefixtures("form")
def test_neighbors_are_those_of_scikit_learn(bank, queries):
    found = nearest_neighbors(bank, queries, k=7)
    expected = NearestNeighbors(n_neighbors=7, metric="cosine").fit(bank)
    distances, indices = expected.kneighbors(queries)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.similarities, 1 - distances, atol=1e-5)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("sizes", [(4, 16), (7, 60), (25, 7), (100, 100)])
@pytest.mark.parametrize("k", [1, 20, 60])
def test_chunks_do_not_change_the_neighbors(sizes, k, bank, queries, monkeypatch):
    chunk_size, bank_chunk_size = sizes
    monkeypatch.setattr(nearest, "BANK_CHUNK_SIZE", bank_chunk_size)
    found = nearest_neighbors(bank, queries, k=k, chunk_size=chunk_size)
    similarity = cosines(queries, bank)
    np.testing.assert_array_equal(found.indices, np.argsort(-similarity, axis=1)[:, :k])
    np.testing.assert_allclose(found.similarities, -np.sort(-similarity, axis=1)[:, :k], atol=1e-5)


def test_without_queries_no_row_is_its_own_neighbor(bank):
    similarity = cosines(bank, bank)
    np.fill_diagonal(similarity, -2)
    found = nearest_neighbors(bank, k=3)
    np.testing.assert_array_equal(found.indices, np.argsort(-similarity, axis=1)[:, :3])


@pytest.mark.usefixtures("form")
def test_a_row_of_zeros_is_similar_to_nothing(bank):
    bank[7] = 0.0
    found = nearest_neighbors(bank, bank[:2], k=60)
    assert found.similarities[found.indices == 7].tolist() == [0, 0]


def test_equal_rows_are_neighbors_but_not_of_themselves():
    found = nearest_neighbors(np.ones((5, 3)), k=3)
    assert found.indices.shape == (5, 3)
    assert all(row not in found.indices[row] for row in range(5))


def test_neighbors_print_as_a_table(bank):
    lines = str(nearest_neighbors(bank, bank[:2], k=2)).splitlines()
    assert lines[0] == "2 nearest of 60 by cosine similarity"
    assert lines[2].startswith("query 0") and "0 (1.00)" in lines[2]
    assert len(lines) == 4


def test_neighbors_convert_to_json(bank):
    found = nearest_neighbors(bank, bank[:2], k=2)
    again = json.loads(json.dumps(found.to_dict()))
    assert again["indices"] == found.indices.tolist()


def test_more_neighbors_than_rows_are_refused(bank):
    with pytest.raises(ValueError, match="k=60 with 59 rows"):
        nearest_neighbors(bank, k=60)


def test_queries_of_another_dimension_are_refused(bank):
    with pytest.raises(ValueError, match="8 in bank and 4 in queries"):
        nearest_neighbors(bank, bank[:, :4])


def test_only_some_similarities_exist_at_a_time(rng):
    bank, queries = (rng.normal(size=(n, 4)).astype("float32") for n in (60_000, 1000))
    tracemalloc.start()
    nearest_neighbors(bank, queries)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80e6  # bytes; all would be 240e6
