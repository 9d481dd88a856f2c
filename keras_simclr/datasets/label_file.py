"""Labels in a CSV file of paths and names of classes."""

import csv
import io
import os
from pathlib import Path

HEADERS = {("path", "label"), ("file", "label"), ("filename", "label"), ("image", "label")}


def read_label_file(path: str | os.PathLike, root: str | os.PathLike) -> dict[str, str]:
    """Read {path of an image: name of its class} from a CSV file.

    Args:
        path: Path of the CSV file, whose rows are `path,label`; a header of these words is left
            out. The same row may occur twice.
        root: Folder that relative paths start from.

    Raises:
        ValueError: If a row is incomplete, a label is missing, a path does not exist, or two rows
            give a path different labels.
    """
    try:
        text = Path(path).read_text("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise ValueError(
            f"The file of labels cannot be read. Received: {os.fspath(path)!r} ({error.strerror})."
        ) from error
    labels: dict[str, str] = {}
    problems: list[str] = []
    for number, row in enumerate(_rows(text, path), 1):
        if not row or (number == 1 and tuple(cell.strip().lower() for cell in row) in HEADERS):
            continue
        problem = _add_row(row, root, labels)
        if problem:
            problems.append(f"row {number}: {problem}")
    if problems:
        raise ValueError(
            "Each row of a file of labels must be the path of an image and its label. Received: "
            f"{len(problems)} wrong rows in {os.fspath(path)!r}: {'; '.join(problems[:3])}. "
            f"Relative paths start from {os.fspath(root)!r}."
        )
    if not labels:
        raise ValueError(f"The file of labels has no rows. Received: {os.fspath(path)!r}.")
    return labels


def _rows(text, path):
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(
            f"The file of labels must be a CSV file. Received: {os.fspath(path)!r}, damaged at "
            f"line {reader.line_num} ({error}). Look for a quotation mark that is not closed."
        ) from error


def _add_row(row, root, labels):
    """Add a row to {path: label}; return what is wrong with it, or None."""
    if len(row) != 2:
        return f"{len(row)} columns instead of 2"
    name, label = row[0], row[1].strip()
    if not label:
        return f"{name!r} has no label"
    path = os.path.normpath(os.path.join(root, name))
    if not os.path.isfile(path):
        return f"{name!r} does not exist"
    if labels.setdefault(path, label) != label:
        return f"{name!r} has the labels {labels[path]!r} and {label!r}"
    return None
