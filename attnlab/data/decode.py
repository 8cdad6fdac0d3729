"""Decode pictures, and read image trees ROOT/<split>/<class>/* into memory."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.io import decode_jpeg

from attnlab.configuration import image_formats, image_tree
from attnlab.configuration.digest import digest
from attnlab.configuration.image_formats import FORMATS
from attnlab.configuration.image_tree import classes_of, fingerprint, images_of, masks_fingerprint, masks_of
from attnlab.data import modes
from attnlab.data.cache import cached
from attnlab.data.memory import Images, canonical
from attnlab.data.modes import as_object, as_rgb, upright, upright_size
from attnlab.errors import DataError

JPEG = b"\xff\xd8"  # the first bytes of a file
UNREADABLE = (OSError, SyntaxError, UnidentifiedImageError, ValueError, Image.DecompressionBombError)
#: digest of the code that makes pixels; taken at import, since a file may be edited while this process runs
DECODER = digest(
    [Path(file).read_text() for file in (__file__, image_formats.__file__, image_tree.__file__, modes.__file__)]
    + [version("pillow")]
)


@cache
def _known() -> tuple[str, ...]:
    """FORMATS without those that this Pillow lacks (AVIF before 11.3)."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def image_of(data: bytes, name: str, *, turned: bool = False) -> Image.Image:
    """An encoded picture in RGB (attnlab.data.modes); the first of several frames.

    turned: rotate it as its EXIF says, instead of as it is stored. Raises DataError naming a picture that cannot be
    read, e.g. a truncated one.
    """
    try:
        with Image.open(BytesIO(data), formats=_known()) as image:
            image.load()
            return as_rgb(upright(image) if turned else image)
    except UNREADABLE as error:
        raise DataError(f"dataset.root: {name} cannot be read as an image ({_reason(error)})") from error


def pixels_of(data: bytes, name: str) -> Tensor:
    """An encoded picture as uint8 (3, H, W), with the pixels of `image_of`.

    Colour JPEGs are decoded by torchvision, which is faster; `image_of` decodes everything else (grey, CMYK, damaged
    JPEGs, other formats).
    """
    if data[:2] == JPEG:
        with suppress(RuntimeError):
            pixels = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8))
            if len(pixels) == 3:
                return pixels
    return torch.from_numpy(np.array(image_of(data, name))).permute(2, 0, 1)


def read_picture(path: Path) -> tuple[bytes, str]:
    """(content, name for error messages) of a file. Raises DataError if it cannot be read."""
    name = f"{path.parent.name}/{path.name}"
    try:
        return path.read_bytes(), name
    except OSError as error:
        raise DataError(f"dataset.root: {name} cannot be read as an image ({error.strerror})") from error


def open_image(path: Path) -> Image.Image:
    """The picture of a file; see `image_of`."""
    return image_of(*read_picture(path))


def _reason(error: Exception) -> str:
    """The message of an error, without the buffer's address that Pillow prints."""
    return "its format is not known" if isinstance(error, UnidentifiedImageError) else str(error)


def decode(path: Path, image_size: int) -> np.ndarray:
    """uint8 (S, S, 3): the central square of an image, upright by its EXIF, resized (bicubic) to S = image_size."""
    picture = image_of(*read_picture(path), turned=True)
    if picture.size != (image_size, image_size):
        side = min(picture.size)
        left, top = (picture.width - side) / 2, (picture.height - side) / 2
        box = (left, top, left + side, top + side)
        picture = picture.resize((image_size, image_size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(picture)


def decode_mask(path: Path, image_size: int, image: Path) -> np.ndarray:
    """bool (S, S): a ground-truth mask, cropped like its image; pixels that are not black belong to the object.

    path: of the mask;  image: path of its image. Raises DataError if a file cannot be read, or if the mask's shape is
    not that of the upright image.
    """
    name = f"masks/ {path.parent.name}/{path.name}"
    try:
        with Image.open(path, formats=_known()) as opened:
            opened.load()
            picture = Image.fromarray(as_object(upright(opened))).convert("L")
        with Image.open(image, formats=_known()) as opened:
            width, height = upright_size(opened)
    except UNREADABLE as error:
        raise DataError(f"dataset.root: {name} cannot be read ({_reason(error)})") from error
    if abs(picture.width * height - picture.height * width) > max(*picture.size, width, height):  # rounding aside
        raise DataError(
            f"dataset.root: {name} has {picture.width}x{picture.height} pixels, its image {width}x{height}; allowed is "
            f"the same shape"
        )
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((image_size, image_size), Image.Resampling.BOX, box=box)) > 127


def read_masks(root: str | Path, split: str, classes: Sequence[str], image_size: int) -> torch.Tensor | None:
    """bool (N, S, S): the masks in ROOT/masks/<split> for the images of ROOT/<split>, in the order of `read_tree`.

    An image without a mask has an empty one. None if no image of the split has a mask.
    """
    images = [path for path, _ in images_of(root, split, classes)]
    paths = masks_of(root, images)
    if not any(paths):
        return None
    nothing = np.zeros((image_size, image_size), dtype=bool)
    with ThreadPoolExecutor() as pool:
        masks = list(
            pool.map(lambda p, image: nothing if p is None else decode_mask(p, image_size, image), paths, images)
        )
    return torch.from_numpy(np.stack(masks))


def read_tree(root: str | Path, split: str, classes: Sequence[str], image_size: int) -> Images:
    """All images of ROOT/<split>, sorted by class and name. Raises DataError if something is missing or damaged."""
    listed = images_of(root, split, classes)
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(lambda item: decode(item[0], image_size), listed, chunksize=256))
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor([number for _, number in listed])
    return Images(pixels, labels, read_masks(root, split, classes, image_size))


def read_trees(
    root: str | Path, image_size: int, cache: str | Path | None, known: str | None = None
) -> tuple[Images, Images]:
    """(training, test) images of a tree, in canonical order.

    cache: folder for decoded images, or None. Their key there is a digest of the files' contents and of the code that
    decodes them.  known: the fingerprint that the tree must have, or None. Raises DataError for a tree with another
    one, and for a tree that changes while it is read.
    """
    found = fingerprint(str(root))
    if known is not None and found != known:
        raise DataError(
            f"dataset.root={root}: holds other images (listing {found}) than the config was made for "
            f"(dataset.listing={known}); compose it anew"
        )

    def decode_all() -> dict[str, torch.Tensor]:
        classes = classes_of(root, "train")
        tensors: dict[str, torch.Tensor] = {}
        for split in ("train", "test"):
            part = read_tree(root, split, classes, image_size)
            tensors |= {f"{split}_images": part.images, f"{split}_labels": part.labels}
            if part.masks is not None:
                tensors[f"{split}_masks"] = part.masks
        if (fingerprint(str(root)), masks_fingerprint(root)) != (found, masks):
            raise DataError(f"dataset.root={root}: its files changed while they were read; run it again")
        return tensors

    masks = masks_fingerprint(root)
    kept = cached(cache, f"tree-{digest([found, masks, image_size, DECODER])}", decode_all)
    train, test = (
        Images(kept[f"{split}_images"], kept[f"{split}_labels"], kept.get(f"{split}_masks"))
        for split in ("train", "test")
    )
    return canonical(train), canonical(test)
