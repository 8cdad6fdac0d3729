"""Atomic file writes: to a temporary file in the same folder, flushed to the disk, then renamed onto the target.

If the process or the machine stops at any moment, a reader finds the old file or the new one, never a part.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_write(path: Path, ending: str = "part") -> Iterator[Path]:
    """Yield a temporary path to write to, which replaces `path` at the end. After an error `path` is unchanged."""
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
        if isinstance(error, OSError) and error.filename is None:  # a full disk gives no file name
            error.filename = str(path)
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, e.g. a rename, to the disk. Does nothing where the file system cannot."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_write(path) as part:
        part.write_text(text)
