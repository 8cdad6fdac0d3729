"""Pieces of image shards: read forwards, and checked against what was counted."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress

from attnlab.data.shard_index import HEADER, Shards
from attnlab.data.shard_source import is_remote, name_of, open_shard, reason
from attnlab.errors import DataError

SKIP = 2**20  # bytes at a time, of what nobody wants


class Tape:
    """One shard, read forwards; where it lies in a folder, from anywhere."""

    def __init__(self, url: str) -> None:
        self.url, self.at, self.stream = url, 0, open_shard(url)

    def piece(self, offset: int, size: int) -> bytes:
        """Bytes of the shard. Raises OSError where it ends before them."""
        if not is_remote(self.url):
            self.stream.seek(offset)
        elif offset < self.at:
            self.close()
            self.at, self.stream = 0, open_shard(self.url)
        while is_remote(self.url) and self.at < offset:
            self.at += len(self._read(min(SKIP, offset - self.at)))
        data = self._read(size)
        self.at = offset + size
        return data

    def _read(self, size: int) -> bytes:
        data: bytes = self.stream.read(size)
        if len(data) < size:
            raise OSError("it ends early")
        return data

    def close(self) -> None:
        """Let go of the file, or of the process that fetches it."""
        with suppress(OSError):  # a command that is cut off says so
            self.stream.close()


class Reader:
    """Encoded images of shards: each lane has a shard of its own open, and reads it forwards."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self.tapes: dict[int, Tape] = {}

    def read(self, lane: int, rows: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """(row, bytes) of the images, which are best in the order they lie in the shards.

        Raises DataError naming a shard that cannot be read, or is another than was counted.
        """
        s = self.shards
        for row in rows:
            url, offset, size = s.urls[int(s.shard[row])], int(s.offset[row]), int(s.size[row]) + HEADER
            try:
                data = self._piece(lane, url, offset, size)
            except (OSError, ValueError) as error:
                raise DataError(f"dataset.root: {name_of(url)} cannot be read ({reason(error)})") from error
            if zlib.crc32(data[:HEADER]) != int(s.crc[row]):
                raise DataError(
                    f"dataset.root: {name_of(url)} is not what it was when its images were counted; that is kept in "
                    f"dataset.cache, shards-*.pt, and counted anew when these are removed"
                )
            yield row, data[HEADER:]

    def _piece(self, lane: int, url: str, offset: int, size: int) -> bytes:
        for last in (False, True):
            tape = self.tapes.get(lane)
            if tape is None or tape.url != url:
                self.close(lane)
                tape = self.tapes[lane] = Tape(url)
            try:
                return tape.piece(offset, size)
            except OSError:  # a connection that has waited for its turn may be gone: once more, from the start
                self.close(lane)
                if last or not is_remote(url):
                    raise
        raise AssertionError("not reached")

    def close(self, lane: int | None = None) -> None:
        """Close one lane's shard; None: every lane's."""
        for one in list(self.tapes) if lane is None else [lane]:
            if tape := self.tapes.pop(one, None):
                tape.close()
