"""From any mode of Pillow's pictures to 8-bit RGB, and to object masks.

Pillow's convert("RGB") clips 16-bit pixels at 255, so nearly all become white. It drops transparency, so that hidden
pixels appear.
"""

from contextlib import suppress

import numpy as np
from PIL import ExifTags, Image, ImageOps

BITS_PER_SAMPLE = 258  # TIFF tag
TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


def as_rgb(picture: Image.Image) -> Image.Image:
    """A loaded picture in RGB.

    Of grey pixels with 12 or 16 bits the upper 8 are kept, as Pillow does for colours. Transparent pixels become white.
    Raises ValueError for 32-bit integers and floats, since files do not state their range, for signed integers, and for
    pictures of more than 8 bits in which the upper 8 are all zero.
    """
    bits = _bits(picture)
    if bits > 8:
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0:
            raise ValueError("its pixels are integers with a sign; allowed are 8 and 16 bits without")
        if 0 < values.max() < 1 << (bits - 8):
            raise ValueError(f"its pixels of {bits} bits are all below {1 << (bits - 8)}, which is black; store 8 bits")
        upper = (values >> (bits - 8)).clip(0, 255).astype(np.uint8)
        return Image.fromarray(upper).convert("RGB")
    if picture.mode in ("I", "F"):
        kind = "integers of 32 bits" if picture.mode == "I" else "floats"
        raise ValueError(f"its pixels are {kind}, of no known range; allowed are 8 and 16 bits")
    if picture.has_transparency_data:
        ground = Image.new("RGBA", picture.size, "white")
        ground.alpha_composite(picture.convert("RGBA"))
        return ground.convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _bits(picture: Image.Image) -> int:
    """Bits per pixel of a grey picture; 8 for all others."""
    if picture.mode == "I" and picture.format == "PPM":
        return 16  # to which Pillow has scaled the pixels
    if not picture.mode.startswith("I;16"):
        return 8
    found = getattr(picture, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
    return min(16, *found) if isinstance(found, tuple) else 16


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) if there is none or it cannot be read."""
    with suppress(Exception):  # Pillow raises many kinds for a damaged EXIF
        found = picture.getexif().get(ExifTags.Base.Orientation, 1)
        return found if found in range(1, 9) else 1
    return 1


def upright(picture: Image.Image) -> Image.Image:
    """The picture, rotated as its EXIF says."""
    return picture if orientation(picture) == 1 else ImageOps.exif_transpose(picture)


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """(width, height) of the upright picture, for a file that is opened and not loaded."""
    width, height = picture.size
    return (height, width) if orientation(picture) in TURNED else (width, height)


def as_object(picture: Image.Image) -> np.ndarray:
    """bool (H, W) from a loaded mask: pixels of the object are opaque or partly so, and not black in every channel."""
    visible = None
    if picture.mode not in ("1", "L", "I", "F", "RGB") and not picture.mode.startswith("I;16"):
        if picture.has_transparency_data:
            visible = np.asarray(picture.convert("RGBA"))[..., 3] > 0
        picture = picture.convert("RGB")
    found = np.asarray(picture) != 0
    found = found.any(axis=2) if found.ndim == 3 else found
    return found if visible is None else found & visible
