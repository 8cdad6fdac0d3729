"""A small image tree with the masks of its objects."""

import numpy as np
from PIL import Image

SIZE = 16


def tree(root, *, masked=("test",), without=(), seed=0):
    """Two classes, three images each; the object is a bright square whose place the mask tells."""
    random = np.random.default_rng(seed)
    for split in ("train", "test"):
        for label in ("ant", "bee"):
            (root / split / label).mkdir(parents=True, exist_ok=True)
            for number in range(3):
                pixels = random.integers(0, 100, (SIZE, SIZE, 3), dtype=np.uint8)
                top, left = random.integers(0, SIZE - 5, 2)
                pixels[top : top + 5, left : left + 5] = 255
                Image.fromarray(pixels).save(root / split / label / f"{number}.png")
                if split in masked and f"{label}/{number}" not in without:
                    folder = root / "masks" / split / label
                    folder.mkdir(parents=True, exist_ok=True)
                    mask = np.zeros((SIZE, SIZE), np.uint8)
                    mask[top : top + 5, left : left + 5] = 1  # not black is the object, whatever its grey
                    Image.fromarray(mask).save(folder / f"{number}.bmp")
    return root
