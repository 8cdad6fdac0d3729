"""A lock for downloads: one process fetches a dataset's files, others wait and then find them."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(root: str | Path) -> Iterator[None]:
    """Lock a folder while files are downloaded and unpacked there. The folder is made if it is missing.

    The lock ends with the process, even a killed one. Its file is not deleted, since another process could then lock a
    new file of that name. Raises OSError if the folder cannot be written.
    """
    folder = Path(root).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".download.lock").open("w") as file:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
