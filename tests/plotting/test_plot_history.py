import keras
import numpy as np
import pytest

from keras_simclr.plotting import plot_history

pytestmark = pytest.mark.once

SIMCLR = {
    "loss": [4.0, 3.0, 2.0, 1.5],
    "contrastive_accuracy": [0.1, 0.4, 0.6, 0.7],
    "relative_loss": [0.8, 0.6, 0.4, 0.3],
}
CLASSIFIER = {
    "loss": [2.0, 1.0, 0.5],
    "accuracy": [0.70, 0.72, 0.74],
    "val_loss": [2.1, 1.2, 0.9],
    "val_accuracy": [0.66, 0.68, 0.70],
}


def lines(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_loss_and_accuracy_have_a_panel_each():
    loss, accuracy = plot_history(SIMCLR).axes
    assert lines(loss)["training"] == [[1, 4.0], [2, 3.0], [3, 2.0], [4, 1.5]]
    assert lines(accuracy)["training"] == [[1, 0.1], [2, 0.4], [3, 0.6], [4, 0.7]]
    assert [axes.get_xlabel() for axes in (loss, accuracy)] == ["epoch", "epoch"]


def test_panels_of_pretraining_are_named():
    titles = [axes.get_ylabel() for axes in plot_history(SIMCLR).axes]
    assert titles == ["NT-Xent loss", "contrastive accuracy"]


def test_panels_of_a_classifier_are_named():
    titles = [axes.get_ylabel() for axes in plot_history(CLASSIFIER).axes]
    assert titles == ["cross-entropy loss", "accuracy"]


def test_the_accuracy_of_a_classifier_is_plotted():
    accuracy = lines(plot_history(CLASSIFIER).axes[1])
    assert accuracy["training"] == [[1, 0.70], [2, 0.72], [3, 0.74]]
    assert accuracy["validation"] == [[1, 0.66], [2, 0.68], [3, 0.70]]


def test_a_loss_of_unknown_kind_is_called_loss():
    (axes,) = plot_history({"loss": [2.0, 1.0], "mae": [0.3, 0.2]}).axes
    assert axes.get_ylabel() == "loss"


def test_the_accuracy_axis_fits_the_data():
    lower, upper = plot_history(CLASSIFIER).axes[1].get_ylim()  # 0.66..0.74
    assert 0.64 < lower < 0.66
    assert 0.74 < upper < 0.76


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_the_accuracy_axis_ends_near_0_and_1(accuracy):
    run = {**SIMCLR, "contrastive_accuracy": [accuracy] * 4}
    axes = plot_history(run).axes[1]
    lower, upper = axes.get_ylim()
    assert lower < accuracy < upper
    assert all(0 <= tick <= 1 for tick in axes.get_yticks() if lower <= tick <= upper)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (2, [1, 2]),
        (5, [1, 2, 3, 4, 5]),
        (20, [1, 5, 10, 15, 20]),
        (100, [1, 20, 40, 60, 80, 100]),
        (130, [1, 50, 100]),
    ],
)
def test_ticks_are_the_first_epoch_and_round_numbers(epochs, expected):
    axes = plot_history({"loss": [1.0] * epochs}).axes[0]
    assert axes.get_xticks().tolist() == expected


def test_accuracy_is_in_percent():
    accuracy = plot_history(SIMCLR).axes[1]
    assert accuracy.yaxis.get_major_formatter()(0.6) == "60%"


def test_the_loss_of_a_collapsed_model_is_marked():
    loss = plot_history(SIMCLR).axes[0]  # 1.5 / 0.3 = 5
    (line,) = [line for line in loss.lines if "collapsed" in line.get_label()]
    assert line.get_label() == "collapsed model (5.00)"
    np.testing.assert_allclose(line.get_ydata(), 5.0)


def test_a_loss_of_zero_marks_no_collapsed_model():
    loss = plot_history({"loss": [0.0], "relative_loss": [0.0]}).axes[0]
    assert list(lines(loss)) == ["training"]


def test_without_relative_loss_nothing_is_marked():
    loss = plot_history({"loss": [2.0, 1.0]}).axes[0]
    assert list(lines(loss)) == ["training"]


def test_validation_is_plotted_as_well():
    run = {**SIMCLR, "val_loss": [4, 3, 3, 2], "val_contrastive_accuracy": [0.1, 0.2, 0.3, 0.4]}
    loss, accuracy = plot_history(run).axes
    assert lines(loss)["validation"] == [[1, 4], [2, 3], [3, 3], [4, 2]]
    assert lines(accuracy)["validation"][-1] == [4, 0.4]


def test_validation_every_other_epoch_is_at_its_epochs():
    loss = plot_history({**SIMCLR, "val_loss": [3.5, 2.5]}).axes[0]
    assert lines(loss)["validation"] == [[2, 3.5], [4, 2.5]]


def test_a_resumed_run_keeps_its_epochs():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=7, initial_epoch=5, verbose=0)
    assert [x for x, _ in lines(plot_history(history).axes[0])["training"]] == [6, 7]


def test_a_single_epoch_is_a_point_with_one_tick():
    axes = plot_history({"loss": [3.0]}).axes[0]
    assert axes.lines[0].get_marker() == "o"
    lower, upper = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if lower <= tick <= upper] == [1]


def test_the_figure_can_be_saved(tmp_path):
    plot_history(SIMCLR).savefig(tmp_path / "history.png")
    assert (tmp_path / "history.png").stat().st_size > 0


@pytest.mark.parametrize("history", [{}, {"loss": []}, {"accuracy": [0.5]}])
def test_a_history_without_loss_is_refused(history):
    with pytest.raises(ValueError, match="There is no loss to plot"):
        plot_history(history)


def test_what_the_monitors_logged_has_panels():
    monitored = SIMCLR | {"knn_accuracy": [0.3, 0.5], "effective_rank": [9.0, 20.0, 28.0, 30.0]}
    panels = plot_history(monitored).axes
    assert [axes.get_ylabel() for axes in panels[2:]] == ["kNN accuracy", "effective rank"]
    assert lines(panels[2])["training"] == [[2, 0.3], [4, 0.5]]
