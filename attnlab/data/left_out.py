"""Messages about files in an image tree that are not used, for the person who put them there."""

from collections.abc import Sequence
from pathlib import Path

from attnlab.configuration.image_formats import in_words, is_image, unread
from attnlab.configuration.image_tree import images_of, masks_of

NAMED = 5  # classes that a message names
HELD_OUT = ("val", "valid", "validation", "dev")  # validation folders of some trees


def left_out(root: str | Path, splits: Sequence[str], classes: Sequence[str]) -> list[str]:
    """A line for each split that has unused files: other formats and subfolders by class, images outside a class."""
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
    """Messages for a tree train/, test/: unused files, an unused validation folder, missing or odd masks."""
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
