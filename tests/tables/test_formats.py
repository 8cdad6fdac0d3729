"""A page as HTML, LaTeX and Markdown: every text is escaped and none is lost."""

import html.parser
import re
import subprocess
import sys

from attnlab.tables.formats import html_page, latex, markdown
from attnlab.tables.page import Bold, Page, Section

HOSTILE = "<script>alert(1)</script> & | _x_ 100 % {a} \\b ~ ^ # $"


def hostile():
    section = Section(HOSTILE, ["", HOSTILE], [[HOSTILE, Bold(HOSTILE)]])
    return Page("hostile", HOSTILE, [("source", HOSTILE)], [HOSTILE], [section], [HOSTILE])


def test_html_escapes_and_closes_every_tag():
    text = html_page(hostile())
    assert text.count("<script") == 1  # its own
    assert "<script>alert" not in text

    class Reader(html.parser.HTMLParser):
        opened: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag, attrs):
            assert not {name for name, _ in attrs} & {"src", "href", "onload"}  # needs no other file
            if tag not in ("meta",):
                self.opened.append(tag)

        def handle_endtag(self, tag):
            assert self.opened.pop() == tag

    reader = Reader()
    reader.feed(text)
    assert reader.opened == []


def test_latex_and_markdown_escape():
    body = [line for line in latex(hostile()).splitlines() if not line.startswith("%")]
    cell = next(line for line in body if r"\textbf" in line)
    assert r"\& \textbar{} \_x\_ 100 \% \{a\} \textbackslash{}b \textasciitilde{} \textasciicircum{} \# \$" in cell
    assert len(re.findall(r"(?<!\\)&", cell)) == 1
    lines = markdown(hostile()).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {3}
    assert not any(line.startswith("<script") or "<script" in line.replace("\\<", "") for line in lines)


class Cells(html.parser.HTMLParser):
    """The texts of th and td, those in bold as Bold, table by table."""

    def __init__(self):
        super().__init__()
        self.tables, self.cell = [], None

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        if tag == "span":  # invisible, to align numbers
            self.cell = None
        if tag in ("th", "td"):
            self.cell = Bold if "bold" in (dict(attrs).get("style") or "") else str
            self.tables[-1].append("")

    def handle_endtag(self, tag):
        self.cell = None if tag in ("th", "td") else self.cell

    def handle_data(self, data):
        if self.cell:
            self.tables[-1][-1] = self.cell(data)


def two_sections():
    one = Section("first", ["", "error", "error"], [["none", "8.20 ± 0.10", "–"], ["SE", Bold("7.80"), "<0.001"]])
    other = Section("", ["", "n"], [["none", "2/2"]])
    return Page("two", "Two", [], ["Unfinished: 1 of 2."], [one, other], ["a note", "another"])


def test_every_cell_is_in_the_html_tables():
    """Two columns may have one heading."""
    reader = Cells()
    reader.feed(html_page(two_sections()))
    first, second = reader.tables
    assert first == ["", "error", "error", "none", "8.20\u00a0±\u00a00.10", "–", "SE", "7.80", "<0.001"]
    assert [text for text in first if isinstance(text, Bold)] == ["7.80"]
    assert second == ["", "n", "none", "2/2"]


def test_latex_has_a_table_for_each_section_and_the_notes_under_the_last():
    lines = latex(two_sections()).splitlines()
    assert lines.count(r"\begin{table}") == lines.count(r"\end{table}") == 2
    assert [line for line in lines if line.startswith(r"\caption")] == [
        r"\caption{Two: first. Unfinished: 1 of 2.}", r"\caption{Two. Unfinished: 1 of 2.}",
    ]  # fmt: skip
    assert [line for line in lines if line.startswith(r"\begin{tabular}")] == [
        r"\begin{tabular}{lrr}", r"\begin{tabular}{lr}",
    ]  # fmt: skip
    assert r"SE & \textbf{7.80} & \textless{}0.001 \\" in lines
    assert lines.index("a note") > lines.index(r"\label{tab:two-2}")
    assert not any("<<" in line or "<%" in line for line in lines)


def test_a_wide_table_is_split_into_parts_with_the_first_column_in_each():
    header = ["", *(f"a long heading {i}" for i in range(8))]
    text = latex(Page("wide", "Wide", [], [], [Section("", header, [["row", *map(str, range(8))]])], []))
    assert text.count(r"\begin{tabular}{lrrr}") == 2
    assert [line for line in text.splitlines() if line.startswith("row & ")] == [
        r"row & 0 & 1 & 2 \\", r"row & 3 & 4 & 5 \\", r"row & 6 & 7 \\",
    ]  # fmt: skip


def test_only_a_written_page_imports_the_libraries_of_pages():
    code = "import sys, attnlab.report, attnlab.tables.write; print({'great_tables', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
