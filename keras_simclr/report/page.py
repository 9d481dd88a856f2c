"""What a run learned, as one self-contained HTML page."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_simclr.evaluation import embedding_health, knn_accuracy, nearest_neighbors
from keras_simclr.files import replacing
from keras_simclr.layers.views import draw_views
from keras_simclr.plotting import (
    plot_history,
    plot_label_efficiency,
    plot_similarities,
    plot_views,
    project_embeddings,
)
from keras_simclr.plotting.embeddings import check_same_length, random_rows
from keras_simclr.plotting.style import COLORS
from keras_simclr.report.inline import Thumbnails, inline_panels, inline_png, inline_svg
from keras_simclr.report.words import describe_health, describe_history, describe_knn
from keras_simclr.validation import check_positive_integer

QUERIES, NEIGHBORS = 8, 8
CHUNK_SIZE = 256  # images whose views exist at a time
MIN_IMAGES = NEIGHBORS + 1
CHARACTER, LINE = 14, 30  # size of a name on the map, whose width and height are 1000


@dataclasses.dataclass(frozen=True)
class Sample:
    """The images that a report shows, with what the model makes of them."""

    images: np.ndarray
    labels: np.ndarray | None  # of shape (N,)
    names: Sequence[str]
    features: np.ndarray
    value_range: tuple[float, float]


def write_report(
    path: Any,
    model: Any,
    images: Any,
    *,
    history: Any = None,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    label_efficiency: Any = None,
    title: str = "SimCLR run",
    max_images: int = 1000,
    seed: int = 0,
) -> Path:
    """Write what a model learned as one HTML page that needs no other file and no network.

    The page shows the settings, the curves, views, a map of the embeddings with a thumbnail of
    each image, nearest neighbors and the health of the features, and explains them. With labels,
    it adds the accuracy of kNN, where each half of the images is the bank for the other.

    Args:
        path: Where to write the page.
        model: A trained `SimCLR`.
        images: Images (N, height, width, channels), at least 9; ideally ones that the model was not
            trained on.
        history: What `fit` returned, or its `history`. Defaults to None: no curves.
        labels: Classes of the images, integers (N,). Defaults to None.
        class_names: Names of the classes 0, 1, .... Defaults to the numbers.
        names: Names of the images, such as their files. Defaults to their numbers.
        settings: What to list as settings. Defaults to None: those of the model.
        label_efficiency: What `keras_simclr.evaluation.label_efficiency` returned. Defaults to
            None.
        title: Title of the page. Defaults to "SimCLR run".
        max_images: Number of images shown; more are sampled. Defaults to 1000.
        seed: Seed of the sample and of the map. Defaults to 0.

    Returns:
        `path`, as a `pathlib.Path`.

    Raises:
        ImportError: If Jinja2 is missing (`pip install "keras-simclr[cli]"`).
        ValueError: If there are fewer than 9 images, or lengths do not match.

    Example:
    >>> write_report("report.html", model, x_test, history=history)  # doctest: +SKIP
    """
    template = _template()
    check_positive_integer("max_images", max_images, min_=MIN_IMAGES)
    sample = _sample(model, images, labels, class_names, names, max_images, seed)
    figures: dict[str, Any] = {"views": inline_png(plot_views(model.augmenter, sample.images[:6]))}
    views = _features_of_views(model, sample.images)
    heads = [keras.ops.convert_to_numpy(model.projection_head(features)) for features in views]
    panels: list[str] = []
    figures["similarities"] = inline_svg(plot_similarities(*heads))
    if history is not None:
        curves = plot_history(history)
        figures["history"] = inline_panels(curves)
        panels = [axes.get_ylabel() for axes in curves.axes]
    if label_efficiency is not None:
        figures["label_efficiency"] = inline_svg(
            plot_label_efficiency(label_efficiency.per_class())
        )
    points, medians = _map(sample, seed)
    thumbnails = Thumbnails(sample.images, sample.value_range)
    alignment = embedding_health(views[0], views=views[1]).alignment
    health = dataclasses.replace(embedding_health(sample.features), alignment=alignment)
    knn = _knn(sample)
    page = template.render(
        title=title,
        settings=_settings(model) if settings is None else settings,
        figures=figures,
        panels=panels,
        key_figures=_key_figures(getattr(history, "history", history), health, knn),
        thumbnails=thumbnails,
        points=points,
        medians=medians,
        neighbors=_neighbors(sample),
        health=health.table(),
        label_efficiency=label_efficiency,
        sentences={
            "history": describe_history(getattr(history, "history", history), model.temperature),
            "health": describe_health(health),
            "knn": describe_knn(*knn) if knn else [],
        },
        count=len(sample.images),
    )
    with replacing(path) as file:
        Path(file).write_text(page, encoding="utf-8")
    return Path(path)


def _template():
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise ImportError(
            'A report needs Jinja2. Install it with `pip install "keras-simclr[cli]"`.'
        ) from error
    loader = PackageLoader("keras_simclr", "report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html")


def _sample(model, images, labels, class_names, names, max_images, seed):
    names = range(len(images)) if names is None else names
    check_same_length(images=images, labels=labels, names=names)
    if len(images) < MIN_IMAGES:
        raise ValueError(
            f"A report needs at least {MIN_IMAGES} images. Received: {len(images)}. Pass more."
        )
    rows = random_rows(len(images), max_images, seed)
    images = np.stack([images[row] for row in rows])
    if labels is not None:
        labels = np.array(
            [
                class_names[label] if class_names else str(label)
                for label in np.asarray(labels)[rows]
            ]
        )
    features = model.predict(images, verbose=0)
    return Sample(images, labels, [str(names[row]) for row in rows], features, model.value_range)


def _features_of_views(model, images):
    """Return h of the first views of all images, and of the second, as `evaluate` draws them."""
    features: tuple[list, list] = ([], [])
    for step, start in enumerate(range(0, len(images), CHUNK_SIZE)):
        chunk = keras.ops.convert_to_tensor(images[start : start + CHUNK_SIZE])
        views = draw_views(model.augmenter, chunk, step, num_views=2, evaluation=True)
        for part, of_view in zip((views[: len(chunk)], views[len(chunk) :]), features, strict=True):
            of_view.append(model.predict(part, verbose=0))
    return [np.concatenate(of_view) for of_view in features]


def _settings(model):
    config = model.get_config()
    return {name: value for name, value in config.items() if not isinstance(value, dict)}


def _map(sample, seed):
    """Return the points of the map, in 0..1000, and the names of the classes at their medians."""
    points = project_embeddings(sample.features, seed=seed)
    lower, upper = points.min(axis=0), points.max(axis=0)
    points = 20 + 960 * (points - lower) / np.maximum(upper - lower, 1e-12)
    labels = np.full(len(points), "") if sample.labels is None else sample.labels
    classes = {label: number for number, label in enumerate(np.unique(labels))}
    circles = [
        {
            "at": point.round(1).tolist(),
            "row": row,
            "color": COLORS[classes[label] % len(COLORS)],
            "text": f"{label}: {name}" if label else name,
        }
        for row, (point, label, name) in enumerate(zip(points, labels, sample.names, strict=True))
    ]
    medians = {c: np.median(points[labels == c], axis=0).round(1).tolist() for c in classes if c}
    return circles, _apart(medians)


def _apart(places):
    """Move names down that would cover others."""
    placed: dict[str, list[float]] = {}
    for name, (x, y) in sorted(places.items(), key=lambda item: item[1][1]):
        for other, (other_x, other_y) in placed.items():
            width = CHARACTER * (len(name) + len(other)) / 2
            if abs(x - other_x) < width and y - other_y < LINE:
                y = other_y + LINE
        placed[name] = [x, y]
    return placed


def _neighbors(sample):
    """Return for some queries their row, and the rows and similarities of their neighbors."""
    queries = np.linspace(0, len(sample.images) - 1, QUERIES).astype(int)
    found = nearest_neighbors(sample.features, k=NEIGHBORS)
    for query in queries:
        rows, similarities = found.indices[query], found.similarities[query]
        yield query, list(zip(rows, similarities, strict=True))


def _key_figures(history, health, knn):
    """Return the numbers at the top of the page."""
    last = {name: values[-1] for name, values in (history or {}).items() if len(values)}
    shown = {}
    if "relative_loss" in last:
        shown["loss, of that of a collapsed model"] = f"{last['relative_loss']:.0%}"
    if "contrastive_accuracy" in last:
        shown["contrastive accuracy"] = f"{last['contrastive_accuracy']:.0%}"
    if knn:
        shown["accuracy of nearest neighbors"] = f"{knn[0]:.1%}"
    rank = f"{health.effective_rank:.0f} of {health.num_dimensions}"
    return {**shown, "effective rank of the features": rank}


def _knn(sample):
    """Return the accuracies of kNN, each half of the images for the other, and of one class."""
    if sample.labels is None or len(np.unique(sample.labels)) < 2:
        return None
    half = np.random.default_rng(0).permutation(len(sample.labels)) % 2 == 0
    if min(len(np.unique(sample.labels[part])) for part in (half, ~half)) < 2:
        return None
    accuracies = [
        knn_accuracy(sample.features[a], sample.labels[a], sample.features[b], sample.labels[b])
        for a, b in ((half, ~half), (~half, half))
    ]
    _, counts = np.unique(sample.labels, return_counts=True)
    return math.fsum(accuracies) / 2, counts.max() / counts.sum()
