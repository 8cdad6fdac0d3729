"""A sheet as HTML, LaTeX and Markdown: whatever its text is, it stays text."""

import html.parser
import re

from attnlab.tables.formats import html_page, latex, markdown
from attnlab.tables.page import Bold, Page, Section

HOSTILE = "<script>alert(1)</script> & | _x_ 100 % {a} \\b ~ ^ # $"


def hostile():
    section = Section(HOSTILE, ["", HOSTILE], [[HOSTILE, Bold(HOSTILE)]])
    return Page("hostile", HOSTILE, [("source", HOSTILE)], [HOSTILE], [section], [HOSTILE])


def test_html_escapes_and_is_whole():
    text = html_page(hostile())
    assert "<script" not in text

    class Reader(html.parser.HTMLParser):
        opened: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag, attrs):
            assert not {name for name, _ in attrs} & {"src", "href", "onload"}  # needs nothing else
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
