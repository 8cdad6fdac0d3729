"""Read an image tree, ROOT/<split>/<class>/*, into memory."""

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

JPEG = b"\xff\xd8"  # how one begins
UNREADABLE = (OSError, SyntaxError, UnidentifiedImageError, ValueError, Image.DecompressionBombError)
#: of the code that makes the pixels of a tree, as this process imported it: a file may be edited later
DECODER = digest(
    [Path(file).read_text() for file in (__file__, image_formats.__file__, image_tree.__file__, modes.__file__)]
    + [version("pillow")]
)


@cache
def _known() -> tuple[str, ...]:
    """FORMATS, but for what this Pillow lacks: AVIF, before 11.3."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def image_of(data: bytes, name: str, formats: tuple[str, ...] | None = None, *, turned: bool = False) -> Image.Image:
    """One picture, decoded as RGB (attnlab.data.modes), of several frames the first.

    formats: Pillow's names of those that are tried; None = FORMATS;  turned: as EXIF says, or as it is stored.
    Raises DataError naming a picture that cannot be read, a truncated one included.
    """
    try:
        with Image.open(BytesIO(data), formats=formats or _known()) as image:
            image.load()
            return as_rgb(upright(image) if turned else image)
    except UNREADABLE as error:
        raise DataError(f"dataset.root: {name} cannot be read as an image ({_reason(error)})") from error


def pixels_of(data: bytes, name: str, formats: tuple[str, ...] | None = None) -> Tensor:
    """One picture as uint8 (3, H, W): the pixels of `image_of`, of colour JPEGs by torchvision's decoder, which is
    faster. Grey, CMYK and damaged ones, and other formats, are left to `image_of`."""
    if data[:2] == JPEG:
        with suppress(RuntimeError):
            pixels = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8))
            if len(pixels) == 3:
                return pixels
    return torch.from_numpy(np.array(image_of(data, name, formats))).permute(2, 0, 1)


def read_picture(path: Path) -> tuple[bytes, str]:
    """(bytes, name for messages) of a file. Raises DataError for one that cannot be read."""
    name = f"{path.parent.name}/{path.name}"
    try:
        return path.read_bytes(), name
    except OSError as error:
        raise DataError(f"dataset.root: {name} cannot be read as an image ({error.strerror})") from error


def open_image(path: Path) -> Image.Image:
    """`image_of` a file."""
    return image_of(*read_picture(path))


def _reason(error: Exception) -> str:
    """Without the address of the buffer that Pillow was given."""
    return "none of the formats known" if isinstance(error, UnidentifiedImageError) else str(error)


def decode(path: Path, image_size: int) -> np.ndarray:
    """One image as (S, S, 3) uint8: its central square as it is shown, resized (bicubic) to S = image_size."""
    picture = image_of(*read_picture(path), turned=True)
    if picture.size != (image_size, image_size):
        side = min(picture.size)
        left, top = (picture.width - side) / 2, (picture.height - side) / 2
        box = (left, top, left + side, top + side)
        picture = picture.resize((image_size, image_size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(picture)


def decode_mask(path: Path, image_size: int, image: Path) -> np.ndarray:
    """One ground-truth mask as (S, S) bool, cut as its image is: what is not black is the object.

    Raises DataError for one that cannot be read, or that has another shape than the image, as this is shown.
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
    if abs(picture.width * height - picture.height * width) > max(*picture.size, width, height):  # but for rounding
        raise DataError(
            f"dataset.root: {name} has {picture.width}x{picture.height} pixels, its image {width}x{height}; allowed is "
            f"the same shape"
        )
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((image_size, image_size), Image.Resampling.BOX, box=box)) > 127


def read_masks(root: str | Path, split: str, classes: Sequence[str], image_size: int) -> torch.Tensor | None:
    """(N, S, S) bool for the images of ROOT/<split> in the order of `read_tree`, from ROOT/masks/<split>.

    All false for an image without a mask; None when no image of the split has one.
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
    """Every image of ROOT/<split>, sorted by class and name. Raises DataError for a missing, empty or damaged part."""
    listed = images_of(root, split, classes)
    with ThreadPoolExecutor() as pool:
        pictures = list(pool.map(lambda item: decode(item[0], image_size), listed, chunksize=256))
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor([number for _, number in listed])
    return Images(pixels, labels, read_masks(root, split, classes, image_size))


def read_trees(
    root: str | Path, image_size: int, cache: str | Path | None, known: str | None = None
) -> tuple[Images, Images]:
    """(training, test) images of a tree in canonical order; decoded once, then kept in the cache folder under what they
    are made of: the files' contents, the code that decodes them, Pillow.

    known: the fingerprint that the tree must have. Raises DataError for another one, and for a tree that changes while
    it is read.
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
