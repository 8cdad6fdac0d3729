"""The reference loader: torchvision's v2 transforms, image by image, in the workers of a DataLoader."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode, v2

MEAN, SD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Pictures(Dataset[tuple[Any, int]]):
    """Images uint8 (N, 3, H, W) and labels as torchvision's CIFAR10 returns them: a transformed PIL image each."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[Image.Image], Tensor]) -> None:
        self.data, self.labels = images.permute(0, 2, 3, 1).contiguous().numpy(), labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data[index])), self.labels[index]


def crops_and_flips(size: int) -> v2.Compose:
    """The transforms for CIFAR: pad by 4 black pixels, random crop, random flip, normalise."""
    moved = [v2.RandomCrop(size, padding=4), v2.RandomHorizontalFlip()]
    return v2.Compose([*moved, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, SD)])


def resized_crops(size: int, interpolation: str) -> v2.Compose:
    """The transforms for ImageNet. torchvision's reference training interpolates `bilinear`, attnlab `bicubic`."""
    moved = [v2.RandomResizedCrop(size, interpolation=InterpolationMode(interpolation)), v2.RandomHorizontalFlip()]
    return v2.Compose([*moved, v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, SD)])


def loader(dataset: Dataset[Any], batch_size: int, workers: int) -> DataLoader[Any]:
    """A shuffling DataLoader with persistent workers, and with pinned memory if there is a GPU."""
    pinned, kept = torch.cuda.is_available(), workers > 0
    return DataLoader(
        dataset, batch_size, shuffle=True, num_workers=workers, persistent_workers=kept, pin_memory=pinned
    )


def folder(root: Path, size: int, interpolation: str) -> ImageFolder:
    """The images of ROOT/train as torchvision reads them, with `resized_crops`."""
    return ImageFolder(str(root / "train"), resized_crops(size, interpolation))


def write_photographs(root: Path, count: int, size: tuple[int, int] = (500, 375), classes: int = 4) -> None:
    """Write ROOT/{train,val}/<class>/<number>.jpg: random crops of the photographs of scikit-image and scikit-learn.

    count: training images, beside one validation image per class;  size: (width, height) in px, ImageNet's usual one.
    JPEG quality is 90.
    """
    import skimage.data
    from sklearn.datasets import load_sample_images

    names = ("astronaut", "coffee", "chelsea", "rocket")
    photos = [Image.fromarray(p) for p in [*(getattr(skimage.data, n)() for n in names), *load_sample_images().images]]
    draw = np.random.default_rng(0)
    for split, number in (("train", count), ("val", classes)):
        for index in range(number):
            photo, target = photos[index % len(photos)], root / split / f"class{index % classes}"
            scale = draw.uniform(0.7, 1.0) * min(photo.width / size[0], photo.height / size[1])
            width, height = size[0] * scale, size[1] * scale
            left, top = draw.uniform(0, photo.width - width), draw.uniform(0, photo.height - height)
            target.mkdir(parents=True, exist_ok=True)
            cut = photo.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
            cut.save(target / f"{index:04d}.jpg", quality=90)
