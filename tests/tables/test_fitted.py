"""Tables at any width: numbers are never cut, headings wrap, intervals take a second line, columns are left out."""

import pytest
import synthetic

from attnlab.report import report
from attnlab.tables.fitted import fitted
from attnlab.tables.page import Bold, Page, Section
from attnlab.tables.terminal import print_page, print_section

HEADER = ["", "top-1 error %", "n", "minus none [95 %]", "verdict", "params"]
ROWS = [
    ["none", "10.39 ± 0.19", "3/5", "–", "–", "269.72 k"],
    ["SE reduction=8 place=pre", Bold("10.22 ± 0.20"), "3/5", "-0.16 [-0.28, -0.05]", "undecided", "270.81 k"],
]
SECTION = Section("a table", HEADER, ROWS)


def drawn_width(found):
    return sum(found.widths) + 3 * len(found.widths) + 1


def test_with_room_nothing_changes():
    found = fitted(SECTION, 200)
    assert (found.section, found.left_out) == (SECTION, [])
    assert found.widths == [24, 13, 3, 20, 9, 8]


def test_headings_and_labels_wrap_first():
    found = fitted(SECTION, 94)
    assert (found.section, found.left_out) == (SECTION, [])
    assert found.widths[1:] == [12, 3, 20, 9, 8]
    assert drawn_width(found) <= 94


def test_then_intervals_take_two_lines():
    found = fitted(SECTION, 77)
    assert found.left_out == []
    assert found.section.rows[1][3] == "-0.16\n[-0.28, -0.05]"
    assert isinstance(found.section.rows[1][1], Bold)
    assert drawn_width(found) <= 77


@pytest.mark.parametrize("width", range(40, 120))
def test_no_number_is_ever_cut(width):
    found = fitted(SECTION, width)
    assert drawn_width(found) <= width
    for number, heading in enumerate(found.section.header):
        cells = [row[number] for row in found.section.rows] if number else []
        words = [*heading.split(), *(line for cell in cells for line in cell.split("\n"))]
        assert all(len(word) <= found.widths[number] for word in words)
    assert [*found.section.header, *found.left_out] == HEADER


def test_what_answers_stays_longer_than_what_explains():
    header = ["", "top-1 error %", "minus none [95 %]", "p (Holm)", "pointing game %", "params"]
    rows = [["SE", "9.54 ± 1.41", "+1.19 [-0.87, +3.26]", "0.262", "61.20 ± 1.10", "78.83 k"]]
    assert fitted(Section("", header, rows), 65).left_out == ["params"]
    assert fitted(Section("", header, rows), 58).left_out == ["p (Holm)", "params"]
    assert fitted(Section("", header, rows), 40).left_out == header[3:]


def test_two_columns_stay_whatever_the_width():
    assert fitted(SECTION, 5).section.header == HEADER[:2]


@pytest.mark.parametrize("width", range(33, 60))
def test_a_column_of_words_wraps_before_it_is_left_out(width):
    section = Section("", ["score", "value", "which is"], [["nll", "2.30", "equal probabilities for all classes"]])
    assert fitted(section, 28).left_out == ["which is"]
    found = fitted(section, width, ["which is"])
    assert found.left_out == []
    assert found.widths[2] == min(35, width - 20)


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_page_names_the_columns_that_it_leaves_out(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    print_page(Page("x", "Title", [], ["a warning"], [SECTION], ["a note"]))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= columns
    assert "…" not in text
    assert "10.22 ± 0.20" in text
    shown, left_out = ("270.81 k" in text), (f"No place in {columns} columns, but in the files: " in text)
    assert shown != left_out


def test_a_dumb_terminal_is_as_wide_as_it_says(capsys, monkeypatch):
    """In notebooks and editors TERM is dumb, where rich takes 80 columns for any width; numbers were cut then."""
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes rich believe in a terminal
    monkeypatch.setenv("COLUMNS", "110")
    numbers = [f"{number}.25" for number in range(100, 113)]
    print_section(Section("", ["row", *(f"column {i}" for i in range(13))], [["first", *numbers]]))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) > 80
    assert all(number in printed for number in numbers[:8])


def test_the_overview_at_80_columns_and_in_a_file(tmp_path, capsys, monkeypatch):
    for seed in (0, 1):
        made = synthetic.record(["attention=se", f"seed={seed}"], 20.0 + seed, params=123_456_789)
        synthetic.write(tmp_path, made)
    (page,) = report([f"output_dir={tmp_path}"]).pages
    monkeypatch.setenv("COLUMNS", "80")
    print_page(page)
    narrow = capsys.readouterr().out
    assert "20.50 ± 0.71" in narrow
    assert "No place in 80 columns, but in the files: " in narrow
    monkeypatch.delenv("COLUMNS")
    print_page(page)
    assert "No place" not in capsys.readouterr().out
