"""A figure that notebooks show; imported with Matplotlib, only when something is plotted."""

import io

from matplotlib.figure import Figure


class NotebookFigure(Figure):
    """A Matplotlib figure that notebooks show even if `matplotlib.pyplot` is not in use."""

    def _repr_png_(self):
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()
