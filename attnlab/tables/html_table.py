"""A section as an HTML table by great_tables: numbers line up, rows link to their runs, columns sort on a click."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from attnlab.tables.page import Bold, Section

NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?")
#: as wide as a digit
FIGURE_SPACE = "\u2007"
#: a space at which a number is not broken into lines; only its interval may stand on the next line
NO_BREAK = "\u00a0"
#: stands for a number in the form of a text
PLACE = "\0"


def html_table(section: Section, name: str, links: Mapping[str, str] = MappingProxyType({})) -> str:
    """The table of a section under the id `name`. links: run id -> address of its page; other runs have no link."""
    import pandas as pd
    from great_tables import GT, loc, style

    header = [text.replace(" %", "\u00a0%") for text in section.header]
    rows = aligned_rows(section)
    if any(run in links for runs in section.runs for _, run in runs):
        header.append("runs")
        for row, runs in zip(rows, section.runs, strict=True):
            linked = [(seed, links[run]) for seed, run in runs if run in links]
            row[0] = _link(linked[0][1], row[0]) if linked else row[0]
            row.append(" ".join(_link(address, str(seed)) for seed, address in linked))
    names = [f"column{i}" for i in range(len(header))]  # headings need not be unique
    table = GT(pd.DataFrame(rows, columns=names, dtype=object), id=name)
    table = table.cols_label(dict(zip(names, header, strict=True))).fmt(str, columns=names)  # fmt: texts are HTML now
    table = table.cols_align("left", names).cols_align("right", names[1 : len(section.header)])
    for i, column in enumerate(names[: len(section.header)]):
        bold = [row for row, texts in enumerate(section.rows) if isinstance(texts[i], Bold)]
        if bold:
            table = table.tab_style(style.text(weight="bold"), loc.body(column, bold))
    return table.as_raw_html()


def aligned_rows(section: Section) -> list[list[str]]:
    """The rows of a section as HTML, with every column but the first aligned."""
    columns = [aligned([row[i] for row in section.rows]) for i in range(1, len(section.header))]
    labels = [_escaped(row[0]) for row in section.rows]
    return [list(texts) for texts in zip(labels, *columns, strict=True)]


def aligned(texts: Sequence[str]) -> list[str]:
    """The texts of a column as HTML, padded so that their numbers stand under each other when aligned right.

    Numbers of one place in texts of one form (`8.20 ± 0.10`) get one width. A text that lacks the end of this form
    (`8.20`) gets it invisibly.
    """
    forms = [NUMBER.sub(PLACE, text) for text in texts]
    usual = Counter(form for form in forms if PLACE in form).most_common(1)
    if not usual or usual[0][0] == PLACE:
        return [_escaped(_unbroken(text)) for text in texts]
    form = usual[0][0]
    numbers = [NUMBER.findall(text) for text, of in zip(texts, forms, strict=True) if form.startswith(of)]
    places = form.count(PLACE)
    widest = [max((found[i] for found in numbers if i < len(found)), key=len, default="0") for i in range(places)]
    filled = []
    for text, of in zip(texts, forms, strict=True):
        if not form.startswith(of) or PLACE not in of:
            filled.append(_escaped(_unbroken(text)))
            continue
        found = NUMBER.findall(text)
        wide = [number.rjust(len(other), FIGURE_SPACE) for number, other in zip(found, widest, strict=False)]
        padded = _escaped(_unbroken(_filled(of, wide))).lstrip(FIGURE_SPACE)
        rest = _unbroken(form[len(of) :])
        ghost = _filled(rest, widest[len(found) :])
        filled.append(padded + (f'<span class="ghost" aria-hidden="true">{_escaped(ghost)}</span>' if rest else ""))
    return filled


def _unbroken(text: str) -> str:
    """The text of a number, which a narrow page breaks into lines only before its interval; words stay as they are."""
    return text if re.match(r"[^\W\d]", text) else re.sub(r" (?!\[)", NO_BREAK, text)


def _filled(form: str, numbers: Sequence[str]) -> str:
    """The form with its numbers."""
    remaining = iter(numbers)
    return re.sub(PLACE, lambda _: next(remaining), form)


def _escaped(text: str) -> str:
    """The text as HTML, with a true minus sign before numbers, which is as wide as a plus sign."""
    from markupsafe import escape

    return re.sub(r"(?<![\w-])-(?=\d)", "\u2212", str(escape(text)))


def _link(address: str, html: str) -> str:
    from markupsafe import escape

    return f'<a href="{escape(address)}">{html}</a>'
