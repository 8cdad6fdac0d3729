"""A table in a terminal of any width: headings wrap, intervals move to a line of their own, columns are left out.

Numbers are never cut. Only the labels of the first column, and of columns of words, may wrap within a cell.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from rich.cells import cell_len

from attnlab.tables.page import Bold, Section

#: headings of columns that are left out before others, the first one first; then the others, from the right
LESS_NEEDED = (
    "s a run", "images/s", "MACs", "params", "p (Wilcoxon)", "detectable [90 %]", "over images [95 %]", "p (Holm)",
)  # fmt: skip
FRAME = 3  # characters that a column takes besides its text: a space on each side and a line


@dataclass(frozen=True)
class Fitted:
    """A section as it is printed. widths: of its columns, in characters;  left_out: the headings without a place."""

    section: Section
    widths: list[int]
    left_out: list[str]


def fitted(section: Section, width: int, words: Collection[str] = ()) -> Fitted:
    """The section within `width` characters. The first two columns stay, whatever the width is.

    words: the headings of the columns of words.
    """
    whole = section.header
    if sum(_natural(section)) <= _room(section, width):
        return Fitted(section, _natural(section), [])
    if sum(_least(section, words)) > _room(section, width):
        section = _with_broken_intervals(section)
    while sum(_least(section, words)) > _room(section, width) and len(section.header) > 2:
        section = _without_the_least_needed(section)
    widths = _least(section, words)
    for number, natural in enumerate(_natural(section)):
        if number in _wrapping(section, words):
            widths[number] += max(0, min(natural - widths[number], _room(section, width) - sum(widths)))
    return Fitted(section, widths, [name for name in whole if name not in section.header])


def _wrapping(section: Section, words: Collection[str]) -> list[int]:
    """The numbers of the columns whose cells may wrap."""
    return [number for number, heading in enumerate(section.header) if number == 0 or heading in words]


def _without_the_least_needed(section: Section) -> Section:
    header = section.header
    last = next((header.index(name) for name in LESS_NEEDED if name in header[2:]), len(header) - 1)
    rows = [[*row[:last], *row[last + 1 :]] for row in section.rows]
    return replace(section, header=[*header[:last], *header[last + 1 :]], rows=rows)


def _room(section: Section, width: int) -> int:
    return width - FRAME * len(section.header) - 1


def _natural(section: Section) -> list[int]:
    """The width of each column in which nothing wraps."""
    return [_longest([heading, *cells]) for heading, cells in _columns(section)]


def _least(section: Section, words: Collection[str]) -> list[int]:
    """The width of each column in which no number, and no word of a heading or of a label, is cut."""
    widths, wrapping = [], _wrapping(section, words)
    for number, (heading, cells) in enumerate(_columns(section)):
        texts = [word for text in cells for word in text.split()] if number in wrapping else cells
        widths.append(_longest([*heading.split(), *texts]))
    return widths


def _columns(section: Section) -> list[tuple[str, list[str]]]:
    return [(heading, [row[number] for row in section.rows]) for number, heading in enumerate(section.header)]


def _longest(texts: Iterable[str]) -> int:
    return max((cell_len(line) for text in texts for line in text.split("\n")), default=0)


def _with_broken_intervals(section: Section) -> Section:
    """`-0.16 [-0.28, -0.05]` in two lines."""
    rows = [[label, *map(_broken, cells)] for label, *cells in section.rows]
    return replace(section, rows=rows)


def _broken(text: str) -> str:
    kind = Bold if isinstance(text, Bold) else str
    return kind(text.replace(" [", "\n["))
