"""The program that damages files for loaders; `make fuzz` runs it for longer."""

import importlib

import pytest

pytestmark = pytest.mark.once


@pytest.fixture
def fuzz_loaders(monkeypatch, request):
    monkeypatch.syspath_prepend(str(request.path.parent))
    return importlib.import_module("fuzz_loaders")


def test_damaged_backups_are_loaded_or_refused(fuzz_loaders):
    counts = fuzz_loaders.fuzz("backup", 0.01)
    assert counts["refused"] > 10


@pytest.mark.parametrize("where", [0.0, 0.4, 0.9])
def test_a_value_of_json_is_replaced(fuzz_loaders, where):
    text = '{"a": true, "b": [1, {"c": null}]}'
    assert fuzz_loaders.with_other_value(text, where, "other").count(b"other") == 1
