"""Files that are whole or not there: written beside their place, flushed to the disk, then renamed onto it.

Whatever ends the process, or the machine, a reader finds the old file or the new one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_whole(path: Path, ending: str = "part") -> Iterator[Path]:
    """The name to write to; at the end its content takes the place of `path`. After an error `path` is as it was."""
    part = path.with_name(f".{path.name}.{ending}")
    try:
        yield part
        descriptor = os.open(part, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # a full disk does not say
            error.filename = str(path)
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entries, a rename among them; where the file system cannot, do nothing."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """A whole text file."""
    with written_whole(path) as part:
        part.write_text(text)
