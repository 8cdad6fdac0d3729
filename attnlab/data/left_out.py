"""What lies in an image tree and is not used, in words: a person who put it there is told."""

from collections.abc import Sequence
from pathlib import Path

from attnlab.configuration.image_formats import in_words, is_image, unread
from attnlab.configuration.image_tree import images_of, masks_of

NAMED = 5  # classes
HELD_OUT = ("val", "valid", "validation", "dev")  # folders that some trees have beside train/ and test/


def left_out(root: str | Path, splits: Sequence[str], classes: Sequence[str]) -> list[str]:
    """A line a split: its files of other formats and in subfolders, class by class, and images of no class."""
    lines = []
    for split in splits:
        top, words, total = Path(root) / split, list[str](), 0
        for name in classes:
            if lost := unread(list((top / name).iterdir())):
                words.append(f"{name} {in_words(top / name, lost)}")
                total += len(lost)
        if len(words) > NAMED:
            words = [*words[:NAMED], f"{len(words) - NAMED} more classes"]
        if stray := sum(path.is_file() and is_image(path) for path in top.iterdir()):
            words.append(f"{stray} beside the class folders")
            total += stray
        if words:
            lines.append(f"{split}/: {total} files are left out: {'; '.join(words)}")
    return lines


def not_used(root: str | Path, classes: Sequence[str]) -> list[str]:
    """`left_out` of a tree train/, test/; a folder of validation images; and how many images have a mask."""
    lines = left_out(root, ("train", "test"), classes)
    lines += [
        f"{name}/ is not used: validation images are drawn from train/"
        for name in HELD_OUT
        if (Path(root) / name).is_dir()
    ]
    for split in ("train", "test"):
        if not (Path(root) / "masks" / split).is_dir():
            continue
        images = [path for path, _ in images_of(root, split, classes)]
        masks = {path for path in masks_of(root, images) if path is not None}
        there = [path for path in (Path(root) / "masks" / split).glob("*/*") if path.is_file() and is_image(path)]
        odd = f"; {len(there) - len(masks)} masks fit no image" if len(there) > len(masks) else ""
        if odd or (masks and len(masks) < len(images)):
            lines.append(f"masks/{split}/: {len(masks)} of {len(images)} images have a mask{odd}")
    return lines
