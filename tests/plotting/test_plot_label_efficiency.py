import numpy as np
import pytest

from keras_simclr.plotting import plot_label_efficiency

pytestmark = pytest.mark.once

RESULTS = {
    "SimCLR": {10: [0.9, 0.9, 0.9], 1: [0.5, 0.6, 0.7]},
    "pixels": {1: [0.4], 10: [0.8], 100: [0.85]},
}


@pytest.fixture
def axes():
    return plot_label_efficiency(RESULTS).axes[0]


def test_a_method_is_a_line_of_means_in_order(axes):
    first, second = axes.containers
    np.testing.assert_allclose(first.lines[0].get_xydata(), [[1, 0.6], [10, 0.9]])
    np.testing.assert_allclose(second.lines[0].get_xydata(), [[1, 0.4], [10, 0.8], [100, 0.85]])


def test_bars_are_standard_errors_of_the_mean(axes):
    (bars,) = axes.containers[0].lines[2]
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    # 0.5, 0.6, 0.7 have the standard deviation 0.1, the mean of three 0.1 / sqrt(3).
    np.testing.assert_allclose(ends, [[0.542265, 0.657735], [0.9, 0.9]], atol=1e-6)


def test_a_single_draw_has_no_error_bar(axes):
    (bars,) = axes.containers[1].lines[2]
    assert all(np.ptp(segment[:, 1]) == 0 for segment in bars.get_segments())


def test_the_counts_are_the_ticks_of_a_logarithmic_axis(axes):
    assert axes.get_xscale() == "log"
    assert axes.get_xticks().tolist() == [1, 10, 100]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "10", "100"]
    assert list(axes.get_xticks(minor=True)) == []


def test_accuracy_is_in_percent(axes):
    axes.figure.draw_without_rendering()
    assert all(label.get_text().endswith("%") for label in axes.get_yticklabels())


def test_the_axes_are_labeled(axes):
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("labels per class", "accuracy")


def test_methods_are_named(axes):
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["SimCLR", "pixels"]


def test_the_figure_can_be_saved(tmp_path):
    plot_label_efficiency(RESULTS).savefig(tmp_path / "labels.png")
    assert (tmp_path / "labels.png").stat().st_size > 0


@pytest.mark.parametrize("results", [{}, {"SimCLR": {}}])
def test_empty_results_are_refused(results):
    with pytest.raises(ValueError, match="`results` must contain accuracies.*Received: results={"):
        plot_label_efficiency(results)
