"""The width of the terminal: COLUMNS where it is set, none for a file."""

from attnlab.machine import terminal


def test_a_pipe_has_no_width_unless_columns_says_it(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal.width() is None
    monkeypatch.setenv("COLUMNS", "93")
    assert terminal.width() == 93
    monkeypatch.setenv("COLUMNS", "wide")
    assert terminal.width() is None
