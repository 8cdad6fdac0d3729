"""Pages in the terminal, by rich."""

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnlab.tables.page import Bold, Page, Section


def print_page(page: Page) -> None:
    """Print a page."""
    console = _console(160)
    console.print(Text(page.title, style="bold"))
    for warning in page.warnings:
        console.print(Text(warning, style="yellow"))
    for section in page.sections:
        console.print(_drawn(section))
    for note in page.notes:
        console.print(Text(note, style="dim"))


def _console(width: int) -> Console:
    """A console as wide as the terminal; `width` columns where the output goes to a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else width)


def _drawn(section: Section, caption: str | None = None) -> Table:
    drawn = Table(title_justify="left", caption_justify="left")
    drawn.title = Text(section.title) if section.title else None  # Text: a str would be parsed as markup
    drawn.caption = Text(caption) if caption else None
    for number, name in enumerate(section.header):
        drawn.add_column(Text(name), justify="right" if number else "left", no_wrap=bool(number and caption))
    for row in section.rows:
        drawn.add_row(*(Text(text, style="bold" if isinstance(text, Bold) else "") for text in row))
    return drawn
