"""Image trees whose test images are in val/: ROOT/train/ and ROOT/val/ without ROOT/test/. Imports no torch."""

from pathlib import Path

from attnlab.configuration.image_tree import classes_of, content_digest, fingerprint, images_of

#: names that such a folder has in public trees
NAMES = ("val", "valid", "validation")


def tested_folder(root: str) -> str | None:
    """`dataset.test_split` of a folder dataset: None where ROOT/test exists, else the first of NAMES that exists.

    None as well where none exists: the message about a tree without test/ comes from reading it.
    """
    if (Path(root) / "test").is_dir():
        return None
    return next((name for name in NAMES if (Path(root) / name).is_dir()), None)


def listing(root: str, split: str | None = None) -> str:
    """16 hexadecimal digits that identify names and contents of ROOT/train and ROOT/<split>; split: None = test.

    Of a tree train/, val/ of more than 1 GiB only every k-th file is read, see `content_digest`.
    """
    if split is None:
        return fingerprint(root)
    classes = classes_of(root, "train")
    return content_digest(root, [*images_of(root, "train", classes), *images_of(root, split, classes)])[0]
