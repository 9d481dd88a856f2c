import math
from types import SimpleNamespace

from keras_simclr.report.words import describe_health, describe_history, describe_knn


def of_loss(loss, temperature=0.5):
    history = {"loss": [loss], "relative_loss": [loss / math.log(511)]}
    return " ".join(describe_history(history, temperature))


def test_a_collapsed_run_is_called_so_with_its_causes():
    assert "nothing was learned" in of_loss(6.22)
    assert "learning rate that is too high" in of_loss(6.22)


def test_the_loss_is_between_that_of_a_collapsed_model_and_that_of_distinct_images():
    # ln(1 + 510 exp(-1/t)) with 2N = 512: 4.248 at t = 0.5, 0.023 at t = 0.1
    assert "ended at 5.23. A collapsed model has 6.24;" in of_loss(5.23)
    assert "has 4.25 at this batch size" in of_loss(5.23)
    assert "has 0.02 at this batch size" in of_loss(1.0, temperature=0.1)


def test_no_history_is_described_by_nothing():
    assert describe_history(None, 0.5) == describe_history({"loss": [1.0]}, 0.5) == []


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
