"""Sentences are wrapped between words on a terminal, and stay one line in a file."""

from attnlab.machine.terminal import print_wrapped

LINE = "wrote outputs/a-long/path/results.md, outputs/a-long/path/results.csv, outputs/a-long/path/results.html"


def test_a_terminal_wraps_between_words_and_a_file_has_one_line(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    print_wrapped(LINE, "short")
    *lines, last = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 50
    assert (" ".join(lines), last) == (LINE, "short")
    monkeypatch.setenv("COLUMNS", "20")
    print_wrapped(LINE)
    assert capsys.readouterr().out.split() == LINE.split()  # no path is cut
    monkeypatch.delenv("COLUMNS")
    print_wrapped(LINE)
    assert capsys.readouterr().out == f"{LINE}\n"
