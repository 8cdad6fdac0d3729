"""An image tree ROOT/train/, ROOT/val/ without ROOT/test/: val/ is tested, as in ImageNet and in Hugging Face sets."""

from pathlib import Path
from typing import Any

import torch

from attnlab.configuration.digest import digest
from attnlab.configuration.image_tree import classes_of, images_of, masks_fingerprint
from attnlab.configuration.tree_splits import listing
from attnlab.data.cache import cached
from attnlab.data.decode import DECODER, read_tree
from attnlab.data.folder import LARGEST, Folder
from attnlab.data.left_out import left_out
from attnlab.data.memory import Images, canonical
from attnlab.errors import DataError


class TrainValFolder(Folder):
    """A Folder whose test images are those of ROOT/<test_split>; it says so in its notes.

    It is a class of its own so that the code of Folder, and with it every record of a tree train/, test/, stays as it
    is. The other arguments, and what is raised: see Folder.
    """

    def __init__(self, *, test_split: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.test_split = test_split

    def read(self) -> tuple[Images, Images]:
        root, splits = str(self.root), ("train", self.test_split)
        self.names = classes_of(root, "train")
        count = sum(len(images_of(root, split, self.names)) for split in splits)
        if count * 3 * self.image_size**2 > LARGEST:
            raise DataError(
                f"dataset.image_size={self.image_size}: {count} images of that size take more than "
                f"{LARGEST >> 30} GiB of memory; use dataset=imagenet, which reads image by image"
            )
        self.notes += left_out(root, splits, self.names)
        here = "" if (Path(root) / "test").is_dir() else f"no test/ in dataset.root={root}: "
        self.notes.append(f"{here}{self.test_split}/ is the test set; validation images are drawn from train/")
        found, masks = listing(root, self.test_split), masks_fingerprint(root)
        if self.listing not in (None, found):
            raise DataError(
                f"dataset.root={root}: holds other images (listing {found}) than the config was made for "
                f"(dataset.listing={self.listing}); compose it anew"
            )
        key = digest([found, masks, self.image_size, DECODER])
        kept = cached(self.cache, f"tree-{self.test_split}-{key}", lambda: self._decode(root, splits))
        train, test = (
            Images(kept[f"{split}_images"], kept[f"{split}_labels"], kept.get(f"{split}_masks")) for split in splits
        )
        return canonical(train), canonical(test)

    def _decode(self, root: str, splits: tuple[str, ...]) -> dict[str, torch.Tensor]:
        tensors: dict[str, torch.Tensor] = {}
        for split in splits:
            part = read_tree(root, split, classes_of(root, "train"), self.image_size)
            tensors |= {f"{split}_images": part.images, f"{split}_labels": part.labels}
            if part.masks is not None:
                tensors[f"{split}_masks"] = part.masks
        return tensors
