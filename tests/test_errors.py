"""The errors of the package: each says what must hold, what was received and what to do."""

import ast
import re
from pathlib import Path

import pytest

import keras_simclr

ROOT = Path(keras_simclr.__file__).parent
CHECKED = {"ValueError", "TypeError", "RuntimeError", "OSError", "FileNotFoundError"}
SHORTEST = 9  # characters of a message that a test must contain
MOST = 4  # errors that have the same words
FILLED_IN = "`{name}` must be {what}. Received: {name}={value}."  # which has no words of its own


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


def parts_in_tests():
    """Return the parts of strings in the tests, split where a message or a pattern varies."""
    parts = set()
    for path in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                plain = re.sub(r"\\(?=\W)", "", node.value)
                for names in ("", "|`\\w+`"):  # which may be fixed or filled in
                    parts.update(re.split(r"\.\*|[\d\[\]()|^$='\"]+|\{\w+\}" + names, plain))
    return {part.strip() for part in parts if len(part.strip()) >= SHORTEST}


def part_of(part):
    """Return a function of a text that returns whether one of part and text contains the other."""
    return lambda text: part in text or (len(text) >= 14 and text in part)


def errors_in_tests():
    """Return the places of the errors whose own words are in a test, not those of many others."""
    fixed = {place: re.split(r"\s*\{.*?\}\s*", text) for place, (_, text) in ERRORS.items()}
    found = set()
    for part in parts_in_tests():
        places = [place for place, texts in fixed.items() if any(map(part_of(part), texts))]
        found.update(places if len(places) <= MOST else ())
    return found


TESTED = errors_in_tests()


@pytest.mark.parametrize("place", [place for place, (kind, _) in ERRORS.items() if kind in CHECKED])
def test_an_error_says_what_must_hold_what_was_received_and_what_to_do(place):
    text = ERRORS[place][1]
    holds, received, rest = text.replace("{received}", "Received: it").partition("Received: ")
    assert holds.strip() and received and rest.strip(), text


@pytest.mark.parametrize("place", ERRORS)
def test_an_error_is_in_a_test(place):
    assert place in TESTED or ERRORS[place][1] == FILLED_IN, ERRORS[place]
