"""How wide the terminal is."""

import os
import shutil
import sys

COLUMNS = "COLUMNS"  # the environment variable in which shells and launchers hand on the width


def width() -> int | None:
    """The columns of the terminal on which stdout is shown; None where stdout is a file or a pipe.

    COLUMNS in the environment decides where it is set, also for a pipe.
    """
    if os.environ.get(COLUMNS, "").isdecimal() or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None
