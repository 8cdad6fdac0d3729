"""A picture of maps for a dark page: the photographs stay as they are, the white around them and the texts turn dark.

The PNG has a text chunk, `photographs`, that says where they are: JSON [left, top, right, bottom], in pixels.
"""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

KEY = "photographs"
#: --paper and --ink of the dark page.css, that take the place of white and black
PAPER, INK = np.array([22, 24, 27]), np.array([230, 230, 230])


def dark_picture(path: Path) -> bytes | None:
    """The PNG in dark colours; None for a picture that does not say where its photographs are."""
    with Image.open(path) as image:
        place = image.info.get(KEY)
        if place is None:
            return None
        pixels = np.array(image.convert("RGB"))
    left, top, right, bottom = json.loads(place)
    tiles = pixels[top:bottom, left:right]
    white = (tiles == 255).all(axis=2)
    gaps = white.all(axis=0)[None, :] | white.all(axis=1)[:, None]  # whole columns and rows between the photographs
    around = np.ones(pixels.shape[:2], dtype=bool)
    around[top:bottom, left:right] = gaps
    share = pixels[around] / 255
    pixels[around] = (share * PAPER + (1 - share) * INK).round()
    found = io.BytesIO()
    Image.fromarray(pixels).save(found, format="png", optimize=True)
    return found.getvalue()
