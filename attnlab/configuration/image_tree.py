"""Folders of images, ROOT/<split>/<class>/*: their files, their fingerprints, what is missing. Imports no torch."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from attnlab.configuration.image_formats import SUFFIXES, in_words, is_image, unread
from attnlab.errors import DataError

IMAGENET = 1000  # classes
MOST_READ = 2**30  # bytes of a large tree that its digest reads
LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif")


def classes_of(root: str | Path, split: str) -> list[str]:
    """The class folders of ROOT/<split>, sorted. Raises DataError when there are none."""
    folder = Path(root) / split
    if not folder.is_dir():
        raise DataError(f"no folder {split}/ in dataset.root={root}; allowed is a folder with {split}/<class>/<image>")
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise DataError(f"no class folders in {split}/ of dataset.root={root}; allowed is {split}/<class>/<image>")
    return classes


def images_of(root: str | Path, split: str, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """(path, class number) of every image, sorted by class and name.

    Raises DataError for a class folder that is missing, that is empty, or most of whose files would not be read.
    """
    found = classes_of(root, split)
    if missing := sorted(set(classes) ^ set(found)):
        raise DataError(f"classes differ: {', '.join(missing[:5])}; {split}/ of dataset.root={root} and the class list")
    images = []
    for number, name in enumerate(classes):
        folder = Path(root) / split / name
        entries = list(folder.iterdir())
        paths, ignored = sorted(path for path in entries if is_image(path)), unread(entries)
        where, suffixes = f"{split}/{name}/ of dataset.root={root}", ", ".join(sorted(SUFFIXES))
        if len(ignored) > len(paths):
            raise DataError(
                f"most files would not be read in {where}: {in_words(folder, ignored)}; {len(paths)} would be; allowed "
                f"are files of {suffixes}, not in subfolders"
            )
        if not paths:
            raise DataError(f"no images in {where}; allowed are files of {suffixes}")
        images += [(path, number) for path in paths]
    return images


def masks_of(root: str | Path, images: Sequence[Path]) -> list[Path | None]:
    """The mask of each image, or None: ROOT/masks/<split>/<class>/<name>.* for ROOT/<split>/<class>/<name>.*.

    Raises DataError if no mask of the split belongs to an image, for two masks of one name, and for a JPEG, whose
    compression leaves pixels around the object that are not black.
    """
    if not images:
        return []
    folder = Path(root) / "masks" / images[0].parent.parent.name
    known: dict[Path, Path] = {}
    for path in sorted(path for path in folder.glob("*/*") if is_image(path)):
        other = known.setdefault(path.relative_to(folder).with_suffix(""), path)
        where = f"masks/{path.relative_to(folder.parent)} in dataset.root={root}"
        if other is not path:
            raise DataError(f"two masks of one image: {other.name} and {where}; allowed is one")
        if path.suffix.lower() in LOSSY:
            raise DataError(f"lossy mask {where}: JPEG changes pixels; allowed are PNG and other lossless formats")
    found = [known.get(Path(image.parent.name, image.stem)) for image in images]
    if known and not any(found):
        raise DataError(f"no mask has an image: masks/{folder.name}/ of dataset.root={root}; allowed is <class>/<name>")
    return found


def class_count(root: str) -> int:
    """The number of classes of ROOT/train: `dataset.classes` of a folder dataset."""
    return len(classes_of(root, "train"))


def listing_digest(root: str | Path, listed: Sequence[tuple[Path, int]]) -> str:
    """16 hexadecimal digits that identify the names and sizes of listed files."""
    lines = [f"{path.relative_to(root).as_posix()} {path.stat().st_size}" for path, _ in listed]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def own_listing(root: str, classes: int) -> str | None:
    """16 hexadecimal digits that identify an own ImageNet by the names and sizes of its images or shards, of URLs by
    the names. None for the ImageNet of 1,000 classes, which is the same everywhere, and if there are no files yet."""
    folder = Path(root)
    if classes == IMAGENET:
        return None
    if not folder.is_dir():
        names = re.findall(r"[^/\s'\":]+\.tar", root)
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16] if names else None
    paths = sorted(path for pattern in ("*.tar", "*/*.tar") for path in folder.glob(pattern))
    if not paths and (folder / "train").is_dir():
        paths = sorted(path for path in folder.glob("*/*/*") if is_image(path))
    return listing_digest(root, [(path, 0) for path in paths]) if paths else None


def _files(root: str | Path) -> list[Path]:
    return [path for split in ("train", "test") for path, _ in images_of(root, split, classes_of(root, split))]


def _contents(paths: Sequence[Path]) -> list[str]:
    """The digest of each file's content."""

    def read(part: Sequence[Path]) -> list[str]:
        return [hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in part]

    with ThreadPoolExecutor() as pool:  # 64 files a task: starting a task costs more than reading one file
        parts = pool.map(read, (paths[first : first + 64] for first in range(0, len(paths), 64)))
        return [found for part in parts for found in part]


def _digest(root: str | Path, paths: Sequence[Path]) -> str:
    lines = [
        f"{path.relative_to(root).as_posix()} {found}" for path, found in zip(paths, _contents(paths), strict=True)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def fingerprint(root: str) -> str:
    """16 hexadecimal digits that identify the names and contents of a tree, independent of its place."""
    return _digest(root, _files(root))


def masks_fingerprint(root: str | Path) -> str:
    """As `fingerprint`, for masks/."""
    return _digest(root, sorted(path for path in (Path(root) / "masks").rglob("*") if path.is_file()))


def is_in_the_id(dataset: Mapping[str, Any]) -> bool:
    """Whether a run's id identifies the images: generated ones, and a folder's, whose fingerprint is in the id."""
    return "root" not in dataset or str(dataset["_target_"]).endswith("folder.Folder")


def content_digest(root: str | Path, listed: Sequence[tuple[Path, int]]) -> tuple[str, list[str] | None]:
    """(16 hexadecimal digits that identify names, sizes and contents of listed files, the digest of each content).

    Of a tree of more than MOST_READ bytes only every k-th file is read, so that about MOST_READ bytes are; the second
    value is None then.
    """
    paths = [path for path, _ in listed]
    every = -(-sum(path.stat().st_size for path in paths) // MOST_READ) or 1
    contents = _contents(paths[::every])
    total = hashlib.sha256("\n".join([listing_digest(root, listed), *contents]).encode()).hexdigest()[:16]
    return total, contents if every == 1 else None
