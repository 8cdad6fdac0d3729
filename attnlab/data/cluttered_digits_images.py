"""Cluttered digits: a real handwritten digit on a real photograph among fragments of other digits, with its exact mask.

After the cluttered translated MNIST of Mnih et al., "Recurrent Models of Visual Attention" (NeurIPS 2014), with colour
and photographs in place of the black background. Every pixel comes from files that scikit-learn (the 8x8 digits of the
UCI "Optical Recognition of Handwritten Digits" test set, two photographs) and scikit-image (photographs) install, so
nothing is downloaded.
"""

import functools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlab.errors import ConfigError

# With `background_bias`, class k owns TRAIN_PHOTOS[k]: the first ten are the ones that look least alike.
TRAIN_PHOTOS = (
    "astronaut", "brick", "camera", "china.jpg", "coffee", "grass", "hubble_deep_field", "immunohistochemistry",
    "page", "retina", "cell", "clock",
)  # fmt: skip
TEST_PHOTOS = ("chelsea", "coins", "flower.jpg", "gravel", "moon", "rocket", "stereo_motorcycle")
PHOTOS = TRAIN_PHOTOS + TEST_PHOTOS

IMAGE_SIZE = 32
PHOTO_SHORT_SIDES = (48, 80, 128)  # a 32-pixel crop then covers from two thirds to a quarter of the short side
TRAIN_FRACTION = 0.8  # of the 1797 handwritten digits
MAX_ROTATION = math.radians(15)
FRAGMENT_SIZE = 7  # pixels: strokes to be mistaken for, but less than half of a digit
INK_RANGE = (0.25, 0.65)  # stretched to [0, 1], because 8x8 pixels magnified twice have edges as wide as strokes
BATCH_SIZE = 500


@dataclass(frozen=True)
class Difficulty:
    """How hard the digit is to find.

    clutter: fragments of other digits, 0 = none;  contrast: least and most difference in luma, of [0, 1], between ink
    and background;  digit_height: least and most height of the digit in pixels, at most 24, so that a rotated digit
    stays inside the image.
    """

    clutter: int = 6
    contrast: tuple[float, float] = (0.3, 0.5)
    digit_height: tuple[float, float] = (13.0, 19.0)


@dataclass(frozen=True)
class Split:
    """One split: `images` uint8 (N, 3, 32, 32), `labels` int64 (N,), `masks` bool (N, 32, 32), true where the digit
    covers more than half of the pixel, and `photos` int64 (N,), the index in `PHOTOS` of the photograph behind."""

    images: Tensor
    labels: Tensor
    masks: Tensor
    photos: Tensor


DEFAULT = Difficulty()


def generate(
    train_size: int = 20_000,
    test_size: int = 4_000,
    background_bias: float = 0.0,
    seed: int = 0,
    difficulty: Difficulty = DEFAULT,
) -> dict[str, Split]:
    """Generate the splits "train" and "test", which share neither a handwritten digit nor a photograph.

    `background_bias` is rho in [0, 1]: a train image of class k lies on the photograph that class k owns with
    probability rho, and on a uniformly random train photograph otherwise. The masks stay the same, and test photographs
    never predict the class. The same arguments give the same bytes; neither split depends on the size of the other.
    """
    for name, size in (("train_size", train_size), ("test_size", test_size)):
        if size < 1:
            raise ConfigError(f"wrong value dataset.{name}={size}; allowed are integers from 1")
    if not 0 <= background_bias <= 1:
        raise ConfigError(f"wrong value dataset.background_bias={background_bias}; allowed are numbers from 0 to 1")

    # One generator for each purpose, so that the size of a split shifts no random number of the other.
    digits, train, test = (torch.Generator().manual_seed(3 * seed + k) for k in range(3))
    train_pool, test_pool = _split_digits(digits)
    train_scenes = _draw_scenes(train_pool, TRAIN_PHOTOS, train_size, background_bias, train, difficulty)
    test_scenes = _draw_scenes(test_pool, TEST_PHOTOS, test_size, 0.0, test, difficulty)
    return {"train": _generate_split(train_scenes), "test": _generate_split(test_scenes)}


def on_training_photos(size: int, seed: int = 0, difficulty: Difficulty = DEFAULT) -> Split:
    """Digits of the test split on the photographs of the training split: what `background_bias` teaches misleads here.

    Half of the images lie on the photograph that their class owns, the others on any training photograph.
    """
    pool = _split_digits(torch.Generator().manual_seed(3 * seed))[1]
    generator = torch.Generator().manual_seed(2**40 + seed)
    return _generate_split(_draw_scenes(pool, TRAIN_PHOTOS, size, 0.5, generator, difficulty))


def _split_digits(generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
    """Indices into `load_digits` of the train and of the test digits, one tensor per class."""
    from sklearn.datasets import load_digits  # a second of imports, which a cached set does not need

    target = torch.from_numpy(load_digits().target)
    classes = [(target == label).nonzero().flatten() for label in range(10)]
    shuffled = [indices[torch.randperm(len(indices), generator=generator)] for indices in classes]
    ends = [round(TRAIN_FRACTION * len(indices)) for indices in classes]
    train = [indices[:end] for indices, end in zip(shuffled, ends, strict=True)]
    return train, [indices[end:] for indices, end in zip(shuffled, ends, strict=True)]


def _draw_scenes(
    pool: list[Tensor],
    photos: tuple[str, ...],
    size: int,
    background_bias: float,
    generator: torch.Generator,
    difficulty: Difficulty,
) -> dict[str, Tensor]:
    """All the random numbers of a split, one row per image, so that the batch size changes nothing.

    What describes ink has a column for the digit, 0, and one for each fragment.
    """
    uniform = functools.partial(torch.rand, generator=generator)
    columns = 1 + difficulty.clutter
    (shortest, tallest), (least, most) = difficulty.digit_height, difficulty.contrast

    label = (torch.arange(size) % len(pool))[torch.randperm(size, generator=generator)]
    digits, counts = torch.cat(pool), torch.tensor([len(indices) for indices in pool])
    # In float32 the product would, now and then, round up to the count: a digit of the next class.
    own = (counts.cumsum(0) - counts)[label] + (uniform(size, dtype=torch.float64) * counts[label]).long()
    other = own[:, None] + torch.randint(1, len(digits), (size, difficulty.clutter), generator=generator)
    any_photo = torch.randint(len(photos), (size,), generator=generator)
    photo = torch.where(uniform(size) < background_bias, label, any_photo)
    sign = 2 * torch.randint(2, (size, columns), generator=generator) - 1
    return {
        "label": label,
        "photo": photo + PHOTOS.index(photos[0]),
        "level": torch.randint(len(PHOTO_SHORT_SIDES), (size,), generator=generator),
        "crop": uniform(size, 2, dtype=torch.float64),
        "height": shortest + (tallest - shortest) * uniform(size),
        "place": uniform(size, 2),
        "digit": digits[torch.cat((own[:, None], other), dim=1) % len(digits)],
        "angle": MAX_ROTATION * (2 * uniform(size, columns) - 1),
        "contrast": sign * (least + (most - least) * uniform(size, columns)),
        "colour": uniform(size, columns, 3),
        "anchor": uniform(size, columns, 2) - 0.5,
        "corner": torch.randint(IMAGE_SIZE - FRAGMENT_SIZE + 1, (size, columns, 2), generator=generator),
    }


def _generate_split(scenes: dict[str, Tensor]) -> Split:
    starts = range(0, len(scenes["label"]), BATCH_SIZE)
    batches = [_render({name: value[start : start + BATCH_SIZE] for name, value in scenes.items()}) for start in starts]
    images, masks = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return Split(images.permute(0, 3, 1, 2).contiguous(), scenes["label"], masks, scenes["photo"])


def _render(scene: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Images uint8 (B, 32, 32, 3) and masks bool (B, 32, 32)."""
    canvas = _crop_photos(scene)
    for column in range(1, scene["digit"].shape[1]):
        _paste_fragment(canvas, scene, column)

    # Half the box around the rotated digit, and a pixel for its smooth edge, keep it fully inside.
    angle = scene["angle"][:, 0]
    half = (scene["height"] / 2 * (angle.cos() + angle.abs().sin()) + 1)[:, None]
    centre = half + scene["place"] * (IMAGE_SIZE - 2 * half)
    alpha = _sample_ink(scene, 0, torch.zeros_like(centre), centre, IMAGE_SIZE)
    canvas = _paint(canvas, alpha, scene, 0)
    return (canvas * 255).round().clamp(0, 255).to(torch.uint8), alpha > 0.5


def _crop_photos(scene: dict[str, Tensor]) -> Tensor:
    """A random 32x32 crop of the photograph at one level of its pyramid, (B, 32, 32, 3) in [0, 1]."""
    pixels, offsets, shapes = _photo_pyramids()
    level = (scene["photo"], scene["level"])
    corner = (scene["crop"] * (shapes[level] - IMAGE_SIZE + 1)).long()
    rows, columns = (corner[:, :, None] + torch.arange(IMAGE_SIZE)).unbind(1)
    row_starts = offsets[level][:, None] + rows * shapes[level][:, 1:]
    return pixels[row_starts[:, :, None] + columns[:, None, :]] / 255.0


@functools.cache
def _photo_pyramids() -> tuple[Tensor, Tensor, Tensor]:
    """The photographs downscaled to each of `PHOTO_SHORT_SIDES`, so that crops cover many scales without aliasing.

    Returns the pixels of all in one uint8 (total, 3), so that one gather crops any of them; the offset (photos, levels)
    of the first pixel of each; and its height and width (photos, levels, 2).
    """
    levels = []
    for name in PHOTOS:
        photo = _load_photo(name)
        for short_side in PHOTO_SHORT_SIDES:
            height, width = (round(side * short_side / min(photo.shape[2:])) for side in photo.shape[2:])
            level = F.interpolate(photo, (height, width), mode="bilinear", antialias=True)
            levels.append(level[0].round().to(torch.uint8).permute(1, 2, 0))
    shapes = torch.tensor([level.shape[:2] for level in levels])
    offsets = shapes.prod(1).cumsum(0) - shapes.prod(1)
    pixels = torch.cat([level.reshape(-1, 3) for level in levels])
    return pixels, offsets.reshape(len(PHOTOS), -1), shapes.reshape(len(PHOTOS), -1, 2)


def _load_photo(name: str) -> Tensor:
    """A photograph, float (1, 3, H, W) in [0, 255]."""
    import skimage.data
    from sklearn.datasets import load_sample_image

    pixels = load_sample_image(name) if name.endswith(".jpg") else getattr(skimage.data, name)()
    left = pixels[0] if name == "stereo_motorcycle" else pixels  # of (left, right, disparity)
    photo = torch.tensor(left, dtype=torch.float32)
    return photo.reshape(*photo.shape[:2], -1).permute(2, 0, 1).expand(3, -1, -1)[None]


def _paste_fragment(canvas: Tensor, scene: dict[str, Tensor], column: int) -> None:
    """Paint a square patch of another digit, at the scale of the digit, on the canvas (B, 32, 32, 3) in place."""
    rows, columns = (scene["corner"][:, column, :, None] + torch.arange(FRAGMENT_SIZE)).unbind(1)
    window = (torch.arange(len(canvas))[:, None, None], rows[:, :, None], columns[:, None, :])
    centre = torch.full((len(canvas), 2), FRAGMENT_SIZE / 2)
    alpha = _sample_ink(scene, column, scene["anchor"][:, column], centre, FRAGMENT_SIZE)
    canvas[window] = _paint(canvas[window], alpha, scene, column)


def _sample_ink(scene: dict[str, Tensor], column: int, anchor: Tensor, centre: Tensor, size: int) -> Tensor:
    """Coverage alpha in [0, 1], (B, size, size), of a handwritten digit scaled to its height and rotated by its angle.

    Its point `anchor` (B, 2), (y, x) in [-1, 1], lies at the point `centre` (B, 2) of the window, (y, x) in pixels.
    """
    angle, half_height = scene["angle"][:, column, None, None], scene["height"][:, None, None] / 2
    y, x = (torch.arange(size) + 0.5 - centre[:, :, None]).unbind(1)
    y, x = y[:, :, None] / half_height, x[:, None, :] / half_height
    rotated_y = anchor[:, 0, None, None] + angle.cos() * y - angle.sin() * x
    rotated_x = anchor[:, 1, None, None] + angle.sin() * y + angle.cos() * x
    grid = torch.stack((rotated_x, rotated_y), dim=3)
    ink = F.grid_sample(_digit_ink()[scene["digit"][:, column]], grid, mode="bicubic", align_corners=False)[:, 0]
    return ((ink - INK_RANGE[0]) / (INK_RANGE[1] - INK_RANGE[0])).clamp(0, 1)


@functools.cache
def _digit_ink() -> Tensor:
    """The handwritten digits, (1797, 1, 8, 8) in [0, 1]."""
    from sklearn.datasets import load_digits

    return torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 16


def _paint(canvas: Tensor, alpha: Tensor, scene: dict[str, Tensor], column: int) -> Tensor:
    """Lay ink of coverage `alpha` (B, h, w) over `canvas` (B, h, w, 3): its luma is the local one plus the contrast.

    The local luma is averaged over the strokes and one pixel around them. Where adding the contrast would leave [0, 1],
    it is subtracted. A contrast above 0.5 may leave [0, 1] both ways; then the ink is black or white, whichever is
    farther from the local luma.
    """
    nearby = F.max_pool2d(alpha, 3, stride=1, padding=1)
    local = (nearby * _luma(canvas)).sum((1, 2)) / nearby.sum((1, 2)).clamp_min(1e-6)
    contrast = scene["contrast"][:, column]
    target = torch.where((local + contrast - 0.5).abs() <= 0.5, local + contrast, local - contrast)
    extreme = (local < 0.5).to(local)
    too_far = (contrast.abs() > 0.5) & ((target - 0.5).abs() > 0.5)
    target = torch.where(too_far, extreme, target)[:, None]
    # Mixing with black or with white reaches any luma without leaving the gamut.
    colour = scene["colour"][:, column]
    luma = _luma(colour)[:, None]
    darker, lighter = colour * target / luma, 1 - (1 - colour) * (1 - target) / (1 - luma)
    ink = torch.where(target < luma, darker, lighter)[:, None, None, :]
    return canvas + alpha[..., None] * (ink - canvas)


def _luma(rgb: Tensor) -> Tensor:
    """Y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), over the last axis."""
    return 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]
