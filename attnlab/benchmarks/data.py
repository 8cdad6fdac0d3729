"""Loading augmented images: torchvision's v2 transforms in a DataLoader over attnlab's loaders.

CIFAR size: crop by 4, flip, normalise, batch 128, on random bytes or on the training images of dataset=NAME; also the
time of our batch as a share of a training step of model=resnet20 under `machine`. ImageNet size: JPEG photographs of
500x375 px in a temporary folder; random resized crop to 224, flip, normalise, batch 32.
Both sides use machine.workers workers (2), except ours at CIFAR size, which uses none; run it on as many cores. A pass
is timed from its start until its last batch is on the device, so that no batch is fetched before the clock starts and
the work of the main process counts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from attnlab.benchmarks import torchvision_loader
from attnlab.benchmarks.bare_loop import stepping
from attnlab.benchmarks.options import BenchOptions, Setting, describe, setting
from attnlab.benchmarks.report import Report, Row
from attnlab.benchmarks.timing import in_turn, timed
from attnlab.data.augment import DRAWS, Preprocess
from attnlab.data.batches import generator, training_batches
from attnlab.data.build import make_datamodule
from attnlab.data.imagenet import ImageNet
from attnlab.data.memory import Batches, Images, MemoryData
from attnlab.errors import ConfigError

DEFAULTS = ("recipe=modern", "model=resnet20")
WORKERS = 2
SMALL, SMALL_BATCH = 50_000, 128  # images, a batch
PASS = 64  # batches of a pass of torchvision at CIFAR size
LARGE, LARGE_BATCH, LARGE_SIZE = 320, 32, 224  # photographs, a batch, px
#: side -> (crop_fill, normalize): first those of torchvision, second those of He et al. (recipe=he2016)
OURS = {"attnlab": ("black", "channel"), "attnlab, mean image": ("mean", "mean_image")}

Pass = Callable[[], Iterable[tuple[Tensor, ...]]]


def seconds_a_batch(batches: Pass, device: torch.device) -> float:
    """Seconds per batch of one pass, with each batch moved to the device."""
    count = 0

    def all_of_them() -> None:
        nonlocal count
        for batch in batches():
            for part in batch:
                part.to(device, non_blocking=True)
            count += 1

    return timed(all_of_them) / count


def small_images(options: BenchOptions, values: Mapping[str, Any]) -> tuple[str, Images]:
    """(description, images): the training images of `dataset=`, or random bytes if no dataset is named.

    Raises ConfigError for a dataset that is not held in memory.
    """
    if not any(o.partition("=")[0] in ("dataset", "experiment", "table") for o in options.overrides):
        draw = torch.Generator().manual_seed(0)
        images = torch.randint(256, (SMALL, 3, 32, 32), dtype=torch.uint8, generator=draw)
        return "random bytes, 32 px", Images(images, torch.randint(10, (SMALL,), generator=draw))
    data = make_datamodule(values)
    if not isinstance(data, MemoryData):
        name = type(data).__name__
        raise ConfigError(f"not in memory: the dataset is {name}; allowed here are datasets held in memory")
    data.setup()
    name = next((o for o in options.overrides if o.startswith("dataset=")), "the experiment's dataset")
    return f"{name}, {data.train.images.shape[-1]} px", data.train


def small(options: BenchOptions, values: Mapping[str, Any], here: Setting, workers: int) -> list[Row]:
    """The rows for CIFAR size; all sides are timed in the same rounds."""
    what, split = small_images(options, values)
    size, part = split.images.shape[-1], split.take(torch.arange(min(len(split), PASS * SMALL_BATCH)))
    reference = torchvision_loader.loader(
        torchvision_loader.Pictures(part.images, part.labels, torchvision_loader.crops_and_flips(size)),
        SMALL_BATCH,
        workers,
    )
    passes: dict[str, Pass] = {"torchvision": lambda: reference}
    for side, (fill, normalize) in OURS.items():
        preprocess = Preprocess(normalize, {"flip": True, "crop": 4, "crop_fill": fill}, split.images)
        passes[side] = in_memory(split.to(here.device), preprocess)
    sides = {name: timing(batches, here.device) for name, batches in passes.items()}
    step = stepping(values, here)
    sides["step"] = lambda: timed(step, 3)
    warm_up(sides)
    seconds = in_turn(sides, options.repeats)
    case = f"{what}, batch {SMALL_BATCH}, crop 4, flip"
    compared = [
        Row(f"{case}, normalize={normalize}, crop_fill={fill}", seconds, "torchvision", side, "x", ">= 9x",
            facts(seconds, "torchvision", side, SMALL_BATCH, workers))
        for side, (fill, normalize) in OURS.items()
    ]  # fmt: skip
    step_case = (
        f"of a training step, {model_override(options)}, {here.precision}, batch {values['recipe']['batch_size']}"
    )
    return compared + [Row(step_case, seconds, side, "step", "share", "< 2 %") for side in OURS]


def in_memory(split: Images, preprocess: Preprocess) -> Pass:
    """Passes of attnlab's loader for images in memory; each pass is a new epoch."""
    epochs = iter(range(2**31))
    batches = Batches(
        split,
        lambda epoch: training_batches(len(split), SMALL_BATCH, 0, epoch),
        preprocess,
        epoch=lambda: next(epochs),
        draws=lambda epoch: torch.rand(len(split), DRAWS, generator=generator(0, 3, epoch)),
    )
    return lambda: batches


def large(options: BenchOptions, here: Setting, workers: int, root: Path) -> list[Row]:
    """The rows for ImageNet size."""
    torchvision_loader.write_photographs(root, LARGE)
    data = ImageNet(
        classes=4, image_size=LARGE_SIZE, root=str(root), mean=torchvision_loader.MEAN, sd=torchvision_loader.SD,
        workers=workers, batch_size=LARGE_BATCH, augment={"flip": True, "resized_crop": {"scale": [0.08, 1.0]}},
    )  # fmt: skip
    data.setup()
    ours = data.train_dataloader()

    def on_the_device() -> Iterable[tuple[Tensor, ...]]:
        for batch in ours:
            yield data.on_after_batch_transfer([part.to(here.device, non_blocking=True) for part in batch], 0)

    passes: dict[str, Pass] = {"attnlab": on_the_device, "attnlab's workers": lambda: ours}
    for side, interpolation in (("torchvision", "bilinear"), ("torchvision, bicubic", "bicubic")):
        reference = torchvision_loader.loader(
            torchvision_loader.folder(root, LARGE_SIZE, interpolation), LARGE_BATCH, workers
        )
        passes[side] = lambda reference=reference: reference  # type: ignore[misc]
    sides = {name: timing(batches, here.device) for name, batches in passes.items()}
    warm_up(sides)
    seconds = in_turn(sides, options.repeats)
    case = f"500x375 JPEG, batch {LARGE_BATCH}, crop resized to {LARGE_SIZE}, flip"
    compared = [
        ("torchvision", "attnlab", "bilinear, its reference, over bicubic", ">= 1.3x"),
        ("torchvision, bicubic", "attnlab", "both bicubic", ">= 1.3x"),
        ("torchvision", "attnlab's workers", "ours up to uint8 batches, as given to a GPU", ""),
    ]
    return [
        Row(f"{case}: {what}", seconds, theirs, mine, "x", target,
            facts(seconds, theirs, mine, LARGE_BATCH, workers))
        for theirs, mine, what, target in compared
    ]  # fmt: skip


def timing(batches: Pass, device: torch.device) -> Callable[[], float]:
    """A function that times one pass, in seconds per batch."""
    return lambda: seconds_a_batch(batches, device)


def warm_up(sides: Mapping[str, Callable[[], float]]) -> None:
    """Call each side once, so that workers are started and caches are filled."""
    for side in sides.values():
        side()


def facts(
    seconds: Mapping[str, Sequence[float]], theirs: str, mine: str, batch: int, workers: int
) -> dict[str, str | int | float]:
    """The number of workers, and the images per second of both sides."""
    found: dict[str, str | int | float] = {"workers": workers}
    for side in (theirs, mine):
        found[side.split(",")[0]] = f"{batch / median(seconds[side]):,.0f} images/s"
    return found


def model_override(options: BenchOptions) -> str:
    """The override `model=` as given, or the default."""
    return next((o for o in options.overrides if o.startswith("model=")), "model=resnet20")


def data(options: BenchOptions) -> Report:
    """torchvision over attnlab at both sizes, and our batch as a share of the training step."""
    values = options.values(*DEFAULTS)
    here = setting(values)
    given = values["machine"]["workers"]
    workers = WORKERS if given is None else int(given)
    rows = small(options, values, here, workers)
    with TemporaryDirectory() as root:
        rows += large(options, here, workers, Path(root))
    title = "loading augmented images: torchvision in a DataLoader over attnlab"
    return Report("data", title, rows, describe(here))
