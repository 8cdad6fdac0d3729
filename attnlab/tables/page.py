"""A page as plain text, before it becomes Markdown, LaTeX, HTML or terminal output."""

from dataclasses import dataclass


class Bold(str):
    """Text to set in bold."""


@dataclass(frozen=True)
class Section:
    """One table: rows of text under a header. The first column holds labels, the others numbers."""

    title: str
    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Page:
    """A page of tables.

    name: of its files;  about: (key of table.about, text);  warnings: what a reader must know before the numbers;
    notes: how to read the numbers.
    """

    name: str
    title: str
    about: list[tuple[str, str]]
    warnings: list[str]
    sections: list[Section]
    notes: list[str]
