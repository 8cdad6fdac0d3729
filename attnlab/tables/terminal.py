"""Pages and lists of runs in the terminal, by rich."""

from collections.abc import Collection, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnlab.machine import terminal
from attnlab.records.run_state import FAILED
from attnlab.tables.fitted import fitted
from attnlab.tables.number_text import DASH, number
from attnlab.tables.page import Bold, Page, Section
from attnlab.tables.progress import duration
from attnlab.tables.run_list import ListedRun
from attnlab.tables.short_numbers import with_short_numbers

WIDE = 100  # columns from which a list of runs has whole ids and the time of day
UNLIMITED = 10_000  # columns of a table in a file or a pipe
LEAST_DIGITS = 4  # of a shortened id


def print_page(page: Page) -> None:
    """Print a page."""
    text = _console(160)
    text.print(Text(page.title, style="bold"))
    for warning in page.warnings:
        text.print(Text(warning, style="yellow"))
    for section in page.sections:
        print_section(section)
    for note in page.notes:
        text.print(Text(note, style="dim"))


def print_runs(runs: Sequence[ListedRun]) -> None:
    """Print a list of runs, and why the failed ones failed. On a narrow terminal ids and dates are shortened."""
    width = terminal.width()
    wide = width is None or width >= WIDE
    digits = 12 if wide else digits_of([run.state.id for run in runs])
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("run", "name", "state", "error %", "time", "date"):
        right = heading in ("error %", "time")
        wraps = heading in ("name", "state")
        drawn.add_column(heading, justify="right" if right else "left", no_wrap=not wraps, overflow="fold")
    for run, name in zip(runs, with_short_numbers([run.name for run in runs]), strict=True):
        state = run.state
        time = DASH if state.seconds is None else duration(state.seconds)
        date = f"{state.date:%Y-%m-%d %H:%M}" if wide else f"{state.date:%Y-%m-%d}"
        texts = (state.id[:digits], name or DASH, state.text, number(state.error), time, date)
        drawn.add_row(*(Text(text) for text in texts))
    console = _console(UNLIMITED)
    console.print(drawn)
    for run in runs:
        if run.state.state == FAILED:
            console.print(Text(f"{run.state.id[:digits]} failed: {run.state.reason}"))


def digits_of(ids: Sequence[str]) -> int:
    """How many first characters tell the ids apart, LEAST_DIGITS at least."""
    count = len(set(ids))
    return next(digits for digits in range(LEAST_DIGITS, 13) if len({one[:digits] for one in ids}) == count)


def _console(width: int) -> Console:
    """A console as wide as the terminal; `width` columns where the output goes to a file or a pipe."""
    return Console(width=terminal.width() or width, height=25)  # without a height, rich takes 80 columns if TERM=dumb


def print_line(text: str) -> None:
    """Print a line of words below a table, wrapped where the terminal is narrow."""
    _console(160).print(Text(text))


def print_section(section: Section, words: Collection[str] = ()) -> None:
    """Print a table, and the headings of columns that have no place. words: the headings of its columns of words."""
    found = fitted(section, terminal.width() or UNLIMITED, words)
    drawn = Table(title_justify="left")
    drawn.title = Text(section.title) if section.title else None  # Text: a str would be parsed as markup
    for column, (name, width) in enumerate(zip(found.section.header, found.widths, strict=True)):
        left = column == 0 or name in words
        drawn.add_column(Text(name), justify="left" if left else "right", width=width, overflow="fold")
    for row in found.section.rows:
        drawn.add_row(*(Text(cell, style="bold" if isinstance(cell, Bold) else "") for cell in row))
    _console(UNLIMITED).print(drawn)
    if found.left_out:
        text = f"No place in {terminal.width()} columns, but in the files: {', '.join(found.left_out)}."
        _console(160).print(Text(text, style="dim"))
