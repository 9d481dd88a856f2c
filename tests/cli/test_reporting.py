import pytest

from keras_simclr.cli.reporting import describe, in_words, show

pytestmark = pytest.mark.once


def test_a_missing_backend_is_named_with_the_cure():
    error = ModuleNotFoundError("No module named 'jax'", name="jax")
    assert "KERAS_BACKEND" in describe(error) and "keras-simclr[jax]" in describe(error)


def test_only_the_cause_of_an_error_within_tensorflow_is_printed():
    text = (
        "ValueError: A. B.\nTraceback (most recent call last):\n  x\nValueError: A. B.\n\n\t[[x]]"
    )
    assert describe(RuntimeError(text)) == "A. B."


def test_a_file_is_named():
    assert describe(FileNotFoundError(2, "No such file", "a.csv")) == "No such file: 'a.csv'"


def test_an_error_without_a_message_has_its_name():
    assert describe(MemoryError()) == "MemoryError"


def test_what_a_command_prints_is_no_result(capsys):
    assert in_words(lambda: print("working") or 3) == 3
    assert capsys.readouterr() == ("", "working\n")


def test_tracebacks_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("KERAS_SIMCLR_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        in_words(lambda: 1 / 0)


def test_json_is_one_line(capsys):
    show({"name": "猫", "share": 0.5}, as_json=True)
    assert capsys.readouterr().out == '{"name": "\\u732b", "share": 0.5}\n'
