"""Tables of an HTML page: numbers line up, rows link to their runs, columns can be sorted."""

import html
import re

from attnlab.tables.formats import html_page
from attnlab.tables.html_table import FIGURE_SPACE, NO_BREAK, aligned, html_table
from attnlab.tables.page import Bold, Page, Section


def width(text):
    """Letters that take room, seen or not."""
    return len(html.unescape(re.sub(r"<[^>]*>", "", text)).lstrip(FIGURE_SPACE))


def test_numbers_of_one_form_get_one_width():
    texts = ["-0.20 [-0.55, +0.15]", "+12.34 [-3.10, +27.60]", "+0.05", "–"]
    first, second, third, dash = aligned(texts)
    assert first == f"−0.20 [−0.55,{NO_BREAK}{FIGURE_SPACE}+0.15]"  # it breaks before the interval only
    assert second == f"+12.34 [−3.10,{NO_BREAK}+27.60]"
    assert third.startswith('+0.05<span class="ghost" aria-hidden="true"> [')
    assert dash == "–"
    assert width(first) == width(second) - 1  # its first number has no leading space to fill
    assert width(third) == width(second) - 1


def test_what_is_no_number_stays_as_it_is():
    assert aligned(["undecided", "better, within ±0.3", "–"]) == ["undecided", "better, within ±0.3", "–"]
    assert aligned(["0.031", "&lt;"]) == ["0.031", "&amp;lt;"]
    assert aligned(["resnet-20"]) == ["resnet-20"]


def section():
    rows = [["none", "8.20 ± 0.10"], ["SE", Bold("7.80")]]
    return Section("", ["", "error"], rows, [[(0, "aaa"), (1, "bbb")], [(0, "<ccc>")]])


def test_a_row_links_to_the_pages_of_its_runs():
    text = html_table(section(), "t", {"aaa": "runs/aaa.html", "bbb": "runs/bbb.html", "<ccc>": 'runs/"c".html'})
    assert '<a href="runs/aaa.html">none</a>' in text
    assert '<a href="runs/aaa.html">0</a> <a href="runs/bbb.html">1</a>' in text
    assert '<a href="runs/&#34;c&#34;.html">SE</a>' in text
    assert ">runs</th>" in text
    assert "<a " not in html_table(section(), "t", {})
    assert "<a " not in html_table(Section("", ["", "n"], [["none", "2"]]), "t", {"aaa": "runs/aaa.html"})


def test_the_page_sorts_and_follows_light_and_dark():
    text = html_page(Page("p", "P", [], [], [section()], [], ["The answer."]))
    assert text.count("<script>") == 1
    assert "aria-sort" in text
    assert "prefers-color-scheme: dark" in text
    assert text.index("The answer.") < text.index("<table")
