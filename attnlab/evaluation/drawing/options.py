"""What attnlab.look is asked to draw: which images, the maps of which class, and which class activation maps."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnlab.configuration.image_formats import is_image
from attnlab.configuration.messages import unknown_choice
from attnlab.errors import ConfigError
from attnlab.evaluation.cam_names import CAMS, DEFAULT_CAMS

IMAGES = 6


@dataclass(frozen=True)
class LookOptions:
    """images: number of test images;  own: images of one's own, in place of test images;  of_class: whose maps are
    drawn: a class's name or number, `label` for each image's own, None for the predicted one;  cams: the class
    activation maps, in this order;  given_cams: whether the user chose them."""

    images: int = IMAGES
    own: tuple[Path, ...] = ()
    of_class: str | None = None
    cams: tuple[str, ...] = DEFAULT_CAMS
    given_cams: bool = False

    @property
    def is_usual(self) -> bool:
        """Whether it shows what the page of a table shows: test images, predicted classes, the usual maps."""
        return not self.own and self.of_class is None and not self.given_cams


def read_options(own: Mapping[str, Any], images: int) -> LookOptions:
    """The options in the values of look's own keys: image, class, cams. Raises ConfigError for a wrong one."""
    files = tuple(path for text in _listed(own.get("image")) for path in _images_at(Path(text)))
    cams = tuple(dict.fromkeys(_listed(own.get("cams")))) or DEFAULT_CAMS
    for name in cams:
        if name not in CAMS:
            raise ConfigError(unknown_choice("cams", name, CAMS))
    of_class = own.get("class")
    if of_class == "label" and files:
        raise ConfigError("wrong value class=label; allowed with image= is a class, as its label is not known")
    return LookOptions(images, files, None if of_class is None else str(of_class), cams, "cams" in own)


def _listed(value: Any) -> list[str]:
    return [] if value is None else [str(item) for item in (value if isinstance(value, list) else [value])]


def _images_at(path: Path) -> list[Path]:
    """The file, or the images in the folder. Raises ConfigError if there is none."""
    if path.is_file():
        return [path]
    found = sorted(item for item in path.glob("*") if is_image(item)) if path.is_dir() else []
    if not found:
        raise ConfigError(f"image={path}: {'holds no image' if path.is_dir() else 'no such file or folder'}")
    return found
