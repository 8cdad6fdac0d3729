"""Image trees, ROOT/<split>/<class>/*: what is in them, and what is missing. Imports no torch."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from attnlab.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".tif", ".tiff"}


def classes_of(root: str | Path, split: str) -> list[str]:
    """The class folders of ROOT/<split>, sorted. Raises DataError when there are none."""
    folder = Path(root) / split
    if not folder.is_dir():
        raise DataError(f"dataset.root={root}: has no folder {split}/; allowed is a tree {split}/<class>/<image>")
    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not classes:
        raise DataError(f"dataset.root={root}: {split}/ holds no class folders; allowed is {split}/<class>/<image>")
    return classes


def images_of(root: str | Path, split: str, classes: Sequence[str]) -> list[tuple[Path, int]]:
    """(path, class number) of every image, sorted by class and name.

    Raises DataError naming a class folder that is missing or empty.
    """
    found = classes_of(root, split)
    if missing := sorted(set(classes) ^ set(found)):
        raise DataError(f"dataset.root={root}: {split}/ and the class list differ in {', '.join(missing[:5])}")
    images = []
    for number, name in enumerate(classes):
        folder = Path(root) / split / name
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise DataError(f"dataset.root={root}: {split}/{name}/ holds no images ({', '.join(sorted(SUFFIXES))})")
        images += [(path, number) for path in paths]
    return images


def class_count(root: str) -> int:
    """How many classes ROOT/train has: `dataset.classes` of a folder dataset."""
    return len(classes_of(root, "train"))


def listing_digest(root: str | Path, listed: Sequence[tuple[Path, int]]) -> str:
    """16 hexadecimal digits for the names and sizes of listed files."""
    lines = [f"{path.relative_to(root).as_posix()} {path.stat().st_size}" for path, _ in listed]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def fingerprint(root: str) -> str:
    """The listing digest of ROOT/train and ROOT/test: two folders are two datasets, wherever they lie."""
    return listing_digest(root, [item for s in ("train", "test") for item in images_of(root, s, classes_of(root, s))])
