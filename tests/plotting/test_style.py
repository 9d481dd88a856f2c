"""Figures are legible on light and on dark pages, whatever Matplotlib's own style."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from keras_simclr.plotting import plot_history, plot_label_efficiency
from keras_simclr.plotting.style import COLORS

pytestmark = pytest.mark.once

HISTORY = {"loss": [3.0, 2.0, 1.0], "relative_loss": [0.9, 0.6, 0.3], "knn_accuracy": [0.2]}


def luminance(color):
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(color, page):
    darker, lighter = sorted([luminance(color), luminance(page)])
    return (lighter + 0.05) / (darker + 0.05)


@pytest.fixture(params=["default", "dark_background"])
def figure(request):
    with matplotlib.style.context(request.param):
        figure = plot_history(HISTORY)
    figure.savefig(io.BytesIO())  # creates the ticks
    return figure


@pytest.mark.parametrize("page", ["white", "black"])
def test_text_has_the_contrast_that_small_text_needs(figure, page):
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert len(texts) > 10
    assert min(contrast(text.get_color(), page) for text in texts) >= 4.5


@pytest.mark.parametrize("page", ["white", "black"])
def test_lines_have_the_contrast_that_graphics_need(page):
    assert min(contrast(color, page) for color in COLORS) >= 3


def test_the_page_shows_through(figure):
    for patch in [figure.patch, *(axes.patch for axes in figure.axes)]:
        assert patch.get_facecolor()[3] == 0


def test_the_style_of_the_user_is_left_alone():
    with matplotlib.rc_context({"lines.linewidth": 7.0}):
        figure = plot_label_efficiency({"SimCLR": {1: [0.5], 10: [0.9]}})
        assert matplotlib.rcParams["lines.linewidth"] == 7.0
    assert figure.axes[0].lines[0].get_linewidth() != 7.0


def test_a_notebook_shows_the_figure(figure):
    assert figure._repr_png_().startswith(b"\x89PNG")
