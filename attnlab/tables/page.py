"""A page as plain text, before it becomes Markdown, LaTeX, HTML or terminal output."""

from dataclasses import dataclass, field


class Bold(str):
    """Text to set in bold."""


@dataclass(frozen=True)
class Section:
    """One table: rows of text under a header. The first column holds labels, the others numbers.

    runs: for each row the (seed, run id) of its runs, to which an HTML page links; empty where rows have no runs.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    runs: list[list[tuple[int, str]]] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """A page of tables.

    name: of its files;  about: (key of table.about, text);  warnings: what a reader must know before the numbers;
    notes: how to read the numbers;  answer: the result in words.
    """

    name: str
    title: str
    about: list[tuple[str, str]]
    warnings: list[str]
    sections: list[Section]
    notes: list[str]
    answer: list[str] = field(default_factory=list)
