"""Makes tests/golden/corruptions.npz: runs the authors' own corruptions on a few photographs.

    python make_corruptions.py FOLDER

FOLDER holds files of hendrycks/robustness@8190fe3 ImageNet-C/create_c (Apache-2.0; none is part of this repository):
make_cifar_c.py, make_imagenet_c.py, frost1.png ... frost5.jpg. In an environment of its own: Python 3.9, numpy 1.23.5,
scipy 1.13.1, scikit-image 0.18.3, opencv-python-headless 4.9.0.80, pillow 11.3.0, Wand 0.7.2 with ImageMagick 6.9.11-60
(the packages of Debian 12: imagemagick, libmagickwand-6.q16-6).
Only the distortions are run, not the loops over data sets. Changed: in make_imagenet_c.py, the side 224 is 96, 244 is
96 * 244 / 224, and the plasma's 256 is 128, so that an image is small enough to be stored; what they draw comes from a
stream of our own (see `streamed`), so that ours can be compared pixel by pixel.

In the file, per side S in (32, 96), all uint8 with channels last but for the statistics:
- images/S (N, S, S, 3)
- NAME/S (5, N, n, n, 3): the result of severities 1 to 5 at every STEPS[S]-th row and column
- statistics/NAME/S (5, 2, 2) for what draws otherwise: mean over images of the mean absolute and of the mean change, in
  levels: its mean and its standard deviation over REPEATS seeds.
- ice (5, 5): of each photograph of frost at CIFAR's scale: its mean red, green, blue, and over 300 crops of 32 pixels
  the spread of grey within a crop and between the crops' means.
"""

import os
import re
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from PIL import Image

GOLDEN = Path(__file__).parent.parent / "golden" / "corruptions.npz"
STREAMED = (
    "gaussian_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
UNSTREAMED = ("shot_noise", "impulse_noise", "frost")
STEPS = {32: 3, 96: 7}
REPEATS = 200
#: side -> (photograph, left, top, side of the crop)
CROPS = {
    32: (("astronaut", 100, 0, 256), ("coffee", 100, 50, 320), ("chelsea", 60, 20, 240), ("rocket", 200, 60, 320)),
    96: (("astronaut", 80, 0, 288),),
}


@contextmanager
def streamed(key):
    """NumPy's normal, uniform and randint take uniform and normal numbers, in order, of a PCG64 seeded by the key."""
    stream = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    old = np.random.normal, np.random.uniform, np.random.randint
    np.random.normal = lambda loc=0.0, scale=1.0, size=None: loc + scale * stream.standard_normal(size)
    np.random.uniform = lambda low=0.0, high=1.0, size=None: low + (high - low) * stream.random(size)
    np.random.randint = lambda low, high, size=None: np.floor(low + (high - low) * stream.random(size)).astype(int)
    try:
        yield
    finally:
        np.random.normal, np.random.uniform, np.random.randint = old


def distortions(path, changes):
    """The namespace of the authors' functions, with the changes made to their text."""
    text = path.read_text()
    text = text[text.index("# /////////////// Distortion Helpers") : text.index("# /////////////// End Distortions")]
    for pattern, new in changes:
        text = re.sub(pattern, new, text)
    space = {"np": np}
    exec(compile(text, str(path), "exec"), space)
    return space


def photographs(side):
    """uint8 (N, side, side, 3)."""
    crops = []
    for name, left, top, size in CROPS[side]:
        photo = Image.fromarray(getattr(skimage.data, name)())
        crops.append(np.array(photo.crop((left, top, left + size, top + size)).resize((side, side), Image.BOX)))
    return np.stack(crops)


def ice(photo):
    """A row of `ice`; the photograph is shrunk as in make_cifar_c.py."""
    small = cv2.resize(cv2.imread(photo), (0, 0), fx=0.2, fy=0.2)[..., ::-1].astype(float)
    corners = np.random.default_rng(0).integers(0, np.array(small.shape[:2]) - 32, (300, 2))
    crops = np.stack([small[top : top + 32, left : left + 32] for top, left in corners])
    grey = crops.mean(3)
    means = grey.mean((1, 2))
    return [*small.mean((0, 1)), np.sqrt(grey.var((1, 2)).mean()), means.std()]


def main(folder):
    folder = Path(folder).resolve()
    os.chdir(folder)  # where frost looks for its photographs
    changes = [(r"\b224\b", "96"), (r"\b244\b", "(96 * 244 / 224)"), (r"\b256\b", "128")]
    codes = {
        32: distortions(folder / "make_cifar_c.py", []),
        96: distortions(folder / "make_imagenet_c.py", changes),
    }
    photos = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
    arrays = {"ice": np.array([ice(photo) for photo in photos])}
    print(arrays["ice"].round(1))
    for side, code in codes.items():
        images = arrays[f"images/{side}"] = photographs(side)
        for name in STREAMED:
            found = np.zeros((5, *images.shape), np.uint8)
            for severity in range(1, 6):
                for k, image in enumerate(images):
                    with streamed(f"{name}:{severity}:{k}"):
                        found[severity - 1, k] = np.uint8(code[name](Image.fromarray(image), severity))
            damage = np.abs(found - images.astype(float)).mean((1, 2, 3, 4))
            print(side, name, damage.round(1))
            arrays[f"{name}/{side}"] = found[:, :, :: STEPS[side], :: STEPS[side]]
        for name in UNSTREAMED:
            np.random.seed(0)
            rows = np.zeros((5, 2, REPEATS))
            for severity in range(1, 6):
                for repeat in range(REPEATS):
                    made = np.stack([np.uint8(code[name](Image.fromarray(image), severity)) for image in images])
                    change = made - images.astype(float)
                    rows[severity - 1, :, repeat] = np.abs(change).mean(), change.mean()
            arrays[f"statistics/{name}/{side}"] = np.stack((rows.mean(2), rows.std(2, ddof=1)), axis=2)
            print(side, name, rows.mean(2).round(1).tolist())
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, **arrays)
    print(GOLDEN, GOLDEN.stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1])
