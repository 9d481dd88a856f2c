from types import SimpleNamespace

import pytest

from keras_simclr.report.words import describe_health, describe_history, describe_knn


def of_loss(relative, loss=(3.0, 2.0)):
    return " ".join(describe_history({"loss": loss, "relative_loss": [1.0, relative]}))


def test_a_collapsed_run_is_called_so_with_its_causes():
    assert "nothing was learned" in of_loss(0.995)
    assert "learning rate that is too high" in of_loss(0.995)


def test_a_healthy_run_tells_images_apart():
    assert "tells images apart" in of_loss(0.6)
    assert "nothing was learned" not in of_loss(0.6)


@pytest.mark.parametrize(
    ("last", "expected"), [(1.8, "more epochs would probably help"), (1.999, "is complete")]
)
def test_a_loss_that_still_falls_asks_for_more_epochs(last, expected):
    assert expected in of_loss(0.5, [5.0, 4.0, 3.0, 2.5, 2.0, last])


def test_no_history_is_described_by_nothing():
    assert describe_history(None) == describe_history({}) == []


def health(rank, dead=0.0):
    return SimpleNamespace(effective_rank=rank, num_dimensions=512, dead_dimensions=dead)


def test_features_of_low_rank_carry_little():
    assert "use 4 of 512 dimensions, which is few" in describe_health(health(4.2))[0]
    assert describe_health(health(90.0)) == [
        "The features use 90 of 512 dimensions (effective rank)."
    ]


def test_dead_dimensions_are_named():
    assert "75% of the dimensions hardly vary" in describe_health(health(90, 0.75))[1]


def test_knn_is_compared_with_the_largest_class():
    assert "would give 10.0%" in describe_knn(0.8, 0.1)[0]
    assert "no better than" in describe_knn(0.51, 0.5)[0]
