import math

import numpy as np
import pytest
from scipy.special import hyp0f1

from keras_simclr.evaluation import embedding_health, health

pytestmark = pytest.mark.once


def on_sphere(rng, count, dimensions):
    rows = rng.normal(size=(count, dimensions))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_equal_features_have_rank_one_and_no_spread(rng):
    report = embedding_health(np.tile(rng.normal(size=16), (50, 1)))
    assert report.effective_rank == pytest.approx(1, abs=1e-5)
    assert report.uniformity == pytest.approx(0, abs=1e-5)
    assert report.dead_dimensions == 1
    assert report.norm_spread == pytest.approx(0, abs=1e-6)


def test_features_of_zero_have_rank_one():
    report = embedding_health(np.zeros((5, 3)))
    assert (report.effective_rank, report.norm_spread, report.dead_dimensions) == (1, 0, 1)


def test_random_features_on_the_sphere_have_full_rank(rng):
    assert embedding_health(on_sphere(rng, 20_000, 16)).effective_rank == pytest.approx(16, 1e-3)


def test_orthogonal_features_have_their_number_as_rank():
    assert embedding_health(np.eye(6, 10)).effective_rank == pytest.approx(6)


def test_the_rank_is_that_of_the_singular_values(rng):
    rows = rng.normal(size=(40, 8)) * np.geomspace(1, 1e-3, 8)
    fractions = np.linalg.svd(rows, compute_uv=False)
    fractions /= fractions.sum()
    expected = math.exp(-np.sum(fractions * np.log(fractions)))
    assert embedding_health(rows).effective_rank == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dimensions", [2, 8, 64])
def test_uniformity_of_the_uniform_sphere(dimensions, rng):
    # The mean of exp(4 cos) over the sphere is 0F1(D / 2; 4).
    expected = math.log(hyp0f1(dimensions / 2, 4)) - 4
    report = embedding_health(on_sphere(rng, 3000, dimensions))
    assert report.uniformity == pytest.approx(expected, abs=0.01)


def test_uniformity_is_that_of_a_loop(rng, monkeypatch):
    monkeypatch.setattr(health, "CHUNK_SIZE", 7)
    rows = rng.normal(size=(20, 3))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    terms = [
        math.exp(-2 * np.sum((unit[i] - unit[j]) ** 2))
        for i in range(20)
        for j in range(20)
        if i != j
    ]
    assert embedding_health(rows).uniformity == pytest.approx(math.log(np.mean(terms)), abs=1e-6)


def test_only_some_rows_make_pairs(rng):
    rows = rng.normal(size=(101, 4))
    expected = embedding_health(rows[::50]).uniformity
    assert embedding_health(rows, max_pairs_from=3).uniformity == pytest.approx(expected)


@pytest.mark.parametrize(("sign", "expected"), [(1, 0.0), (-1, 4.0)])
def test_alignment_is_between_equal_and_opposite(sign, expected, rng):
    rows = rng.normal(size=(30, 5))
    report = embedding_health(rows, sign * 3 * rows)
    assert report.alignment == pytest.approx(expected, abs=1e-6)


def test_alignment_needs_views(rng):
    assert embedding_health(rng.normal(size=(30, 5))).alignment is None


def test_dimensions_that_hardly_vary_are_dead(rng):
    rows = rng.normal(size=(100, 4))
    rows[:, 1] = 0.0
    rows[:, 2] = 3 + 1e-4 * rows[:, 2]
    assert embedding_health(rows).dead_dimensions == 0.5


def test_the_spread_of_the_norm_is_relative_to_its_mean():
    rows = np.array([[3.0, 0.0], [0.0, 5.0]])
    assert embedding_health(rows).norm_spread == pytest.approx(0.25)
    assert embedding_health(100 * rows).norm_spread == pytest.approx(0.25)


def test_a_report_prints_its_numbers():
    lines = str(embedding_health(np.eye(4), np.eye(4))).splitlines()
    assert lines[0].startswith("Embedding health of 4 features: RankMe")
    assert lines[1].split() == "effective rank 4.0 of 4".split()
    assert len(lines) == 6


def test_views_of_other_images_are_refused():
    with pytest.raises(ValueError, match="must be of the same images.*3 rows of views and 4"):
        embedding_health(np.eye(4), np.eye(4)[:3])


def test_a_single_feature_is_refused():
    with pytest.raises(ValueError, match="at least 2 features"):
        embedding_health(np.ones((1, 4)))
