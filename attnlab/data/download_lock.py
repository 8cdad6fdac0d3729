"""Downloads: one process fetches a dataset's files, those that come meanwhile wait and find them."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def alone(root: str | Path) -> Iterator[None]:
    """Hold a folder, made if need be, while files are fetched and unpacked there. Raises OSError where that cannot be.

    The lock ends with the process, however it ends; its file stays, or two could each hold one of that name.
    """
    folder = Path(root).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".download.lock").open("w") as file:
        with suppress(OSError):  # a file system without locks keeps nobody out
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
