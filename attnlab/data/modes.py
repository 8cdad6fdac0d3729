"""What the pixels of a decoded picture mean: colours of 8 bits from every mode of Pillow's, and masks from the same.

Pillow's own convert("RGB") clips 16 bits at 255, which leaves white, and drops transparency, which shows what it hid.
"""

from contextlib import suppress

import numpy as np
from PIL import ExifTags, Image, ImageOps

BITS_PER_SAMPLE = 258  # a tag of TIFF
TURNED = (5, 6, 7, 8)  # orientations that exchange width and height


def as_rgb(picture: Image.Image) -> Image.Image:
    """A loaded picture in RGB. Grey of 16 bits: its upper 8, as Pillow takes them of colours; of 12 bits the upper 8.

    Transparent pixels lie on white. Raises ValueError for 32-bit integers and floats, whose range no file tells, for
    integers with a sign, and where no pixel reaches the upper 8 bits.
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
    """Of a grey picture of more than 8 bits how many; else 8."""
    if picture.mode == "I" and picture.format == "PPM":
        return 16  # Pillow has scaled them to it
    if not picture.mode.startswith("I;16"):
        return 8
    found = getattr(picture, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
    return min(16, *found) if isinstance(found, tuple) else 16


def orientation(picture: Image.Image) -> int:
    """How EXIF says that a picture is to be turned, 1 to 8; 1 = not, also where it says nothing that can be read."""
    with suppress(Exception):  # of a damaged EXIF whatever Pillow raises
        found = picture.getexif().get(ExifTags.Base.Orientation, 1)
        return found if found in range(1, 9) else 1
    return 1


def upright(picture: Image.Image) -> Image.Image:
    """The picture as it is shown: turned as its EXIF says."""
    return picture if orientation(picture) == 1 else ImageOps.exif_transpose(picture)


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """(width, height) of the picture as it is shown, of a file that was opened and not loaded."""
    width, height = picture.size
    return (height, width) if orientation(picture) in TURNED else (width, height)


def as_object(picture: Image.Image) -> np.ndarray:
    """A loaded mask as (H, W) bool: a pixel that is seen, and not black in every channel, is the object."""
    seen = None
    if picture.mode not in ("1", "L", "I", "F", "RGB") and not picture.mode.startswith("I;16"):
        if picture.has_transparency_data:
            seen = np.asarray(picture.convert("RGBA"))[..., 3] > 0
        picture = picture.convert("RGB")
    found = np.asarray(picture) != 0
    found = found.any(axis=2) if found.ndim == 3 else found
    return found if seen is None else found & seen
