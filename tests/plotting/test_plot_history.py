import keras
import numpy as np
import pytest

from keras_simclr.plotting import plot_history

RUN = {
    "loss": [4.0, 3.0, 2.0, 1.5],
    "contrastive_accuracy": [0.1, 0.4, 0.6, 0.7],
    "relative_loss": [0.8, 0.6, 0.4, 0.3],
}


def lines(axes):
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def test_loss_and_accuracy_have_a_panel_each():
    loss, accuracy = plot_history(RUN).axes
    assert lines(loss)["training"] == [[1, 4.0], [2, 3.0], [3, 2.0], [4, 1.5]]
    assert lines(accuracy)["training"] == [[1, 0.1], [2, 0.4], [3, 0.6], [4, 0.7]]
    assert [axes.get_xlabel() for axes in (loss, accuracy)] == ["epoch", "epoch"]


def test_accuracy_is_in_percent():
    accuracy = plot_history(RUN).axes[1]
    assert accuracy.yaxis.get_major_formatter()(0.6) == "60%"


def test_a_collapsed_models_loss_is_marked():
    loss = plot_history(RUN).axes[0]  # 1.5 / 0.3 = 5
    (line,) = [line for line in loss.lines if "collapsed" in line.get_label()]
    assert line.get_label() == "collapsed model (5.00)"
    np.testing.assert_allclose(line.get_ydata(), 5.0)


def test_without_relative_loss_nothing_is_marked():
    loss = plot_history({"loss": [2.0, 1.0]}).axes[0]
    assert list(lines(loss)) == ["training"]


def test_validation_is_drawn_beside():
    run = {**RUN, "val_loss": [4, 3, 3, 2], "val_contrastive_accuracy": [0.1, 0.2, 0.3, 0.4]}
    loss, accuracy = plot_history(run).axes
    assert lines(loss)["validation"] == [[1, 4], [2, 3], [3, 3], [4, 2]]
    assert lines(accuracy)["validation"][-1] == [4, 0.4]


def test_validation_every_other_epoch_stands_at_its_epochs():
    loss = plot_history({**RUN, "val_loss": [3.5, 2.5]}).axes[0]
    assert lines(loss)["validation"] == [[2, 3.5], [4, 2.5]]


def test_a_run_that_went_on_keeps_its_epochs():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=7, initial_epoch=5, verbose=0)
    assert [x for x, _ in lines(plot_history(history).axes[0])["training"]] == [6, 7]


def test_a_single_epoch_is_a_point_with_one_tick():
    axes = plot_history({"loss": [3.0]}).axes[0]
    assert axes.lines[0].get_marker() == "o"
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


def test_the_figure_can_be_saved(tmp_path):
    plot_history(RUN).savefig(tmp_path / "history.png")
    assert (tmp_path / "history.png").stat().st_size > 0


@pytest.mark.parametrize("history", [{}, {"loss": []}, {"accuracy": [0.5]}])
def test_a_history_without_loss_is_refused(history):
    with pytest.raises(ValueError, match="There is no loss to draw"):
        plot_history(history)
