"""Where image shards come from: a folder, URLs, commands; which there are, and how one is opened."""

import os
import re
from pathlib import Path
from typing import Any

from attnlab.errors import ConfigError, DataError

ALLOWED = (
    "a folder of train-*.tar and val-*.tar, or URLs of such (https://, gs://, hf://, file names) with {000..127}, "
    "joined by ::"
)


def find_shards(root: str) -> dict[str, list[str]]:
    """{train: [...], val: [...]} of a folder, or of patterns as webdataset's (`{000..127}`, joined by `::`).

    Whether a shard is for training stands in its name: the last of the words train, val, validation.
    Raises ConfigError or DataError where there are none.
    """
    folder = Path(root)
    if not is_remote(root) and "{" not in root and "::" not in root:
        if not folder.is_dir():
            raise DataError(f"dataset.root={root}: is no folder; allowed are {ALLOWED}")
        shards = sorted(str(path) for pattern in ("*.tar", "*/*.tar") for path in folder.glob(pattern))
    else:
        shards = expand(root)
    found: dict[str, list[str]] = {"train": [], "val": []}
    for shard in shards:
        name = shard.removeprefix(str(folder))  # its folder may be called anything
        if words := re.findall(r"(?<![a-z])(train|val)(?:idation)?(?![a-z])", name.lower()):
            found[words[-1]].append(shard)
    for split, there in found.items():
        if not there:
            raise DataError(f"dataset.root={root}: has no shards {split}-*.tar; allowed are {ALLOWED}")
    return found


def expand(root: str) -> list[str]:
    """The shards of patterns. Raises ConfigError for what webdataset cannot open, and for commands nobody trusted."""
    from webdataset.gopen import gopen_schemes
    from webdataset.shardlists import expand_urls

    try:
        shards: list[str] = expand_urls(root)
    except (ValueError, KeyError) as error:
        raise ConfigError(f"dataset.root={root}: is no pattern ({error}); allowed are {ALLOWED}") from error
    for shard in shards:
        scheme = re.match(r"[a-z0-9]+(?=:)", shard)
        if scheme and scheme[0] not in {*gopen_schemes, "file"}:
            raise ConfigError(
                f"dataset.root={shard}: webdataset does not open {scheme[0]}:; allowed are "
                f"{', '.join(sorted(gopen_schemes.keys() - {'__default__'}))}, e.g. pipe:aws s3 cp s3://... -"
            )
        # A config may come from anywhere, and this runs what it says (see construct.TRUSTED).
        if shard.startswith("pipe:") and "pipe" not in os.environ.get("ATTNLAB_TRUST", "").split(","):
            raise ConfigError(
                f"dataset.root={shard}: runs a command; allowed with ATTNLAB_TRUST=pipe in the environment"
            )
    return shards


def is_remote(root: str) -> bool:
    """Whether webdataset opens it, not this module."""
    return root.startswith("pipe:") or "://" in root


def name_of(shard: str) -> str:
    """The shard's own name, without the folder, host or command it comes by: `train-000000.tar`."""
    found: list[str] = re.findall(r"[^/\s'\"]+\.tar", shard)
    return found[-1] if found else shard


def reason(error: Exception) -> str:
    """Why a shard could not be read; of a command that failed its exit status, not its text, where keys may stand."""
    found = re.search(r"exit -?\d+", str(error))
    return f"its command ended with {found[0]}" if found else str(error)


def open_shard(url: str) -> Any:
    """A stream of the shard's bytes, by webdataset where it is remote."""
    if not is_remote(url):
        return Path(url).open("rb")
    from webdataset.gopen import gopen

    return gopen(url)
