"""Base class of the results of evaluations."""

import dataclasses
from typing import Any

import numpy as np


class Result:
    """Base class of the results: dataclasses that state their protocol.

    `print` shows a table, and `to_dict` returns what JSON can represent.
    """

    protocol: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers, strings, lists and dicts."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {field.name: _plain(getattr(self, field.name)) for field in fields if field.repr}

    def table(self) -> list[list[str]]:
        """Return the rows of the table that `print` shows."""
        raise NotImplementedError

    def __str__(self) -> str:
        """Return the protocol and the table."""
        rows = self.table()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip()
            for first, *rest in rows
        ]
        return "\n".join([self.protocol, *lines])


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
