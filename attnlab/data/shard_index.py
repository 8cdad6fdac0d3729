"""What is in image shards, WebDataset's layout: tar files of KEY.jpg (.jpeg, .png) and KEY.cls, one after the other.

Each shard's tar headers are walked once: where each image lies, how long it is, its class. From then on images are read
as pieces of the shard, after a check of their header; no tar is unpacked, no name in one is ever a path, and of the
members only images and .cls are looked at: a .pyd or .pkl is passed by.
"""

import hashlib
import re
import tarfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attnlab.data.cache import cached
from attnlab.data.shard_source import is_remote, name_of, open_shard, reason
from attnlab.errors import DataError

IMAGES = ("jpg", "jpeg", "png")
LONGEST = 2**31  # bytes of one image
STREAMS = 16  # shards that are walked at once: it is waiting, mostly
HEADER = tarfile.BLOCKSIZE
NUMBER = re.compile(rb"\s*\d{1,9}\s*")


class _Header(tarfile.TarInfo):
    """A member that knows its header's checksum; a tar that stops without its end mark is damaged, not short."""

    crc = 0

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> "_Header":
        try:
            found = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"it ends, or is damaged, between two members: {error}") from error
        found.crc = zlib.crc32(buf)
        return found


@dataclass(frozen=True)
class Shards:
    """The images of some shards, N in all, in the order they lie there: shard, offset, size, crc, labels (N,).

    offset, crc: of the tar header before the image;  keys: joined by NUL, UTF-8.
    """

    urls: list[str]
    shard: Tensor
    offset: Tensor
    size: Tensor
    crc: Tensor
    labels: Tensor
    keys: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def names(self) -> list[str]:
        """SHARD/KEY.EXT of every image."""
        keys = self.keys.numpy().tobytes().decode(errors="replace").split("\0")
        names = [name_of(url) for url in self.urls]
        return [f"{names[shard]}/{key}" for shard, key in zip(self.shard.tolist(), keys, strict=True)]

    def digest_lines(self) -> list[str]:
        """One line an image: shard, name, bytes, class."""
        rows = zip(self.names(), self.size.tolist(), self.labels.tolist(), strict=True)
        return [f"{name} {size} {label}" for name, size, label in rows]


def digest(*splits: Shards) -> str:
    """16 hexadecimal digits for the names, sizes and classes of all images, as listing_digest's of a tree."""
    lines = (line for split in splits for line in (*split.digest_lines(), "|"))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _walk(url: str) -> dict[str, Tensor]:
    """One row an image of the shard. Raises DataError for a tar that is damaged, or a sample without its parts."""
    from webdataset.tariterators import base_plus_ext

    name = name_of(url)
    rows: list[tuple[int, int, int, int]] = []
    keys: list[str] = []
    now: dict[str, Any] = {}

    def finish() -> None:
        if len(now) <= 1:
            return
        if "label" not in now or "image" not in now:
            lacks = ".cls" if "label" not in now else f".{', .'.join(IMAGES)}"
            raise DataError(f"dataset.root: {name}: {now['key']} has no {lacks} beside it")
        rows.append((*now["image"], now["label"]))
        keys.append(now["member"].replace("\0", " "))

    try:
        with (
            open_shard(url) as stream,
            tarfile.open(fileobj=stream, mode="r|" if is_remote(url) else "r:", tarinfo=_Header) as tar,
        ):
            for member in tar:
                key, ending = base_plus_ext(member.name)
                ending = (ending or "").lower()
                if not member.isreg() or ending not in (*IMAGES, "cls"):
                    continue
                if not 0 <= member.size < LONGEST or member.issparse():
                    raise DataError(f"dataset.root: {name}: {member.name} has {member.size} bytes, or holes")
                if key != now.get("key"):
                    finish()
                    now = {"key": key}
                kind = "label" if ending == "cls" else "image"
                if kind in now:
                    raise DataError(f"dataset.root: {name}: {key} has two members .{ending}, or two images")
                if kind == "label":
                    text = tar.extractfile(member).read(64)  # type: ignore[union-attr]
                    if not NUMBER.fullmatch(text):
                        raise DataError(
                            f"dataset.root: {name}: {key}.cls holds {text[:20]!r}; allowed is a class number"
                        )
                    now["label"] = int(text)
                else:
                    now |= {
                        "image": (member.offset_data - HEADER, member.size, getattr(member, "crc", 0)),
                        "member": member.name,
                    }
            finish()
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        if isinstance(error.__context__, DataError):  # a command that was cut off for it complains as well
            raise error.__context__ from None
        raise DataError(f"dataset.root: {name} cannot be read as a tar file ({reason(error)})") from error
    if not rows:
        raise DataError(f"dataset.root: {name} holds no samples KEY.jpg and KEY.cls")
    columns = zip(("offset", "size", "crc", "label"), torch.tensor(rows).unbind(1), strict=True)
    joined = bytearray("\0".join(keys).encode(errors="replace"))
    return dict(columns) | {"keys": torch.frombuffer(joined, dtype=torch.uint8)}


def read_index(urls: Sequence[str], cache: str | Path | None) -> Shards:
    """What is in the shards. It is kept in the cache folder: for files until one has another size or time, for URLs
    until it is removed. Raises DataError as `_walk`."""

    def walk_all() -> dict[str, Tensor]:
        print(f"attnlab: {len(urls)} shards from {name_of(urls[0])} on: their images are counted, once", flush=True)
        with ThreadPoolExecutor(STREAMS) as pool:
            try:  # the first error ends it
                tables = list(pool.map(_walk, urls))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        shard = torch.arange(len(urls)).repeat_interleave(torch.tensor([len(table["label"]) for table in tables]))
        between = torch.zeros(1, dtype=torch.uint8)  # of keys
        keys = [part for table in tables for part in (between, table.pop("keys"))][1:]
        columns = {name: torch.cat([table[name] for table in tables]) for name in tables[0]}
        return {**columns, "shard": shard, "keys": torch.cat(keys)}

    kept = cached(cache, f"shards-{_state(urls)}", walk_all)
    labels = kept.pop("label")
    return Shards(list(urls), labels=labels, **kept)


def _state(urls: Sequence[str]) -> str:
    """16 hexadecimal digits for the names of shards, and for sizes and times of those that are files."""
    total = hashlib.sha256()
    for url in urls:
        try:
            info = None if is_remote(url) else Path(url).stat()
        except OSError as error:
            raise DataError(f"dataset.root: {url} cannot be read ({error.strerror})") from error
        line = url if info is None else f"{Path(url).absolute()} {info.st_size} {info.st_mtime_ns}"
        total.update(f"{line}\n".encode())
    return total.hexdigest()[:16]
