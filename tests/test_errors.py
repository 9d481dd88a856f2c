"""The errors of the package: each says what must hold, what was received and what to do."""

import ast
import re
from pathlib import Path

import pytest

import keras_simclr

pytestmark = pytest.mark.once

ROOT = Path(keras_simclr.__file__).parent
CHECKED = {"ValueError", "TypeError", "RuntimeError", "FileNotFoundError"}


def message(node, constants):
    """Return the text of a message, with "{name}" for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(message(value, constants) for value in node.values)
    if isinstance(node, ast.BinOp):
        return message(node.left, constants) + message(node.right, constants)
    value = node.value if isinstance(node, ast.FormattedValue) else node
    name = ast.unparse(value)
    return constants.get(name, "{" + name + "}")


def errors():
    """Return every error that the package creates, by its place: kind and message."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text())
        constants = {
            ast.unparse(node.targets[0]): message(node.value, {})
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.BinOp))
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and re.search("Error$", ast.unparse(node.func)):
                text = " ".join(message(argument, constants) for argument in node.args)
                found[f"{path.relative_to(ROOT)}:{node.lineno}"] = (ast.unparse(node.func), text)
    return found


ERRORS = errors()


@pytest.mark.parametrize("place", [place for place, (kind, _) in ERRORS.items() if kind in CHECKED])
def test_an_error_says_what_must_hold_what_was_received_and_what_to_do(place):
    text = ERRORS[place][1]
    holds, received, rest = text.replace("{received}", "Received: it").partition("Received: ")
    assert holds.strip() and received and rest.strip(), text
