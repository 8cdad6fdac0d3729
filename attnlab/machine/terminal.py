"""How wide the terminal is, and sentences wrapped to it."""

import os
import shutil
import sys
import textwrap
from typing import TextIO

COLUMNS = "COLUMNS"  # the environment variable in which shells and launchers hand on the width


def width() -> int | None:
    """The columns of the terminal on which stdout is shown; None where stdout is a file or a pipe.

    COLUMNS in the environment decides where it is set, also for a pipe.
    """
    if os.environ.get(COLUMNS, "").isdecimal() or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None


def print_wrapped(*lines: str, file: TextIO | None = None) -> None:
    """Print sentences, wrapped between words on a terminal. Words, and so paths, stay in one piece."""
    columns = width()
    for line in lines:
        text = line if columns is None else textwrap.fill(line, columns, break_long_words=False, break_on_hyphens=False)
        print(text, file=file)
