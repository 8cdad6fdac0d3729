"""A finished run, ready to be evaluated: its trained network, and images that it was not trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.image_tree import classes_of
from attnlab.configuration.names import name_of
from attnlab.data.augment import Preprocess
from attnlab.data.build import make_datamodule
from attnlab.data.memory import Images
from attnlab.data.subset import sample
from attnlab.errors import ConfigError
from attnlab.machine import hardware
from attnlab.models.network import build, load
from attnlab.records.record import Record, find_run, read_config, read_valid_record

BATCH = 250  # images per forward pass


@dataclass(frozen=True)
class RunData:
    """A finished run before its network is loaded.

    config: the run's config, with the machine and the image folders of today;  data: its data module, set up;
    precision: Lightning's name of the precision in which errors are counted.
    """

    folder: Path
    config: dict[str, Any]
    record: Record
    data: Any
    precision: str


@dataclass(frozen=True)
class FinishedRun:
    """A finished run with its network and with images, both drawn evenly over the classes.

    test: test images, uint8;  selection: images on which gates, thresholds and mean masks are chosen, so that nothing
    is chosen on the test images: validation images where the run held some out, else training images;
    device: where the network is;  bf16: whether logits are computed under bfloat16 autocast.
    """

    folder: Path
    config: dict[str, Any]
    record: Record
    net: nn.Module
    preprocess: Preprocess
    test: Images
    selection: Images
    data_hash: str
    device: torch.device
    bf16: bool

    @property
    def id(self) -> str:
        """The run's id."""
        return self.folder.name

    @property
    def classes(self) -> int:
        return int(self.config["dataset"]["classes"])

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> float32 (B, 3, H, W) on the device, normalised as in the run's training."""
        x = self.preprocess(images.to(self.device))
        return x.contiguous(memory_format=torch.channels_last)

    def batches(self, images: Tensor) -> list[Tensor]:
        """uint8 (N, 3, H, W) -> normalised batches of at most BATCH images."""
        return [self.normalised(part) for part in images.split(BATCH)]

    def logits(self, x: Tensor) -> Tensor:
        """Normalised (B, 3, H, W) -> logits (B, classes), float32, without gradients."""
        kind = torch.bfloat16
        with torch.no_grad(), torch.autocast(self.device.type, kind, enabled=self.bf16):
            return self.net(x).float()

    def all_logits(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) -> logits (N, classes)."""
        return torch.cat([self.logits(x) for x in self.batches(images)])

    @cached_property
    def class_names(self) -> list[str]:
        """The class folders' names for a dataset of image folders; otherwise the class numbers."""
        root = Path(str(self.config["dataset"].get("root")))
        if (root / "train").is_dir():
            return classes_of(root, "train")
        return [str(number) for number in range(self.classes)]

    def untrained(self, number: int = 0) -> nn.Module:
        """An untrained network of the same config, in eval mode; each number gives another initialisation seed."""
        values = self.config | {"seed": self.config["seed"] + 1 + number, "start_from": None}
        values["model"] = values["model"] | ({"pretrained": False} if "pretrained" in values["model"] else {})
        return build(values).to(self.device).eval()


def read_finished_run(
    run: str, output_dir: str | Path, machine: Mapping[str, Any], folders: Sequence[str], images: int
) -> FinishedRun:
    """A finished run below output_dir, with `images` test images and as many selection images.

    The other arguments, and what is raised: see `read_run_data`.
    """
    return load_run(read_run_data(run, output_dir, machine, folders), images)


def read_run_data(run: str, output_dir: str | Path, machine: Mapping[str, Any], folders: Sequence[str]) -> RunData:
    """The config, record and images of a finished run below output_dir.

    run: an id, or its first characters;  machine: the `machine` section of a config;  folders: overrides such as
    dataset.root=DIR, for images that are not in the usual place.
    Raises ConfigError for a run that is missing or damaged, for images other than those the run was trained and tested
    on, and for a machine that cannot be used.
    """
    folder = find_run(run, output_dir)
    record = read_valid_record(folder)
    hardware.one_device(machine)
    precision = hardware.precision_of(record, machine)
    values = read_config(folder)
    dataset = name_of("dataset", values["dataset"], values).split()[0]
    today = plain(compose_file("run", [f"dataset={dataset}", *folders]))["dataset"]
    places = {name: today[name] for name in ("root", "cache") if name in today}
    values |= {"machine": dict(machine), "dataset": values["dataset"] | places}
    hardware.set_threads(machine)
    data = make_datamodule(values)
    data.setup()
    check_images(folder.name, data, record)
    return RunData(folder, values, record, data, precision)


def check_images(run: str, data: Any, record: Record, key: str = "dataset.root") -> None:
    """Raise ConfigError if the run used other images than `data` has. key: the config key of the image folder."""
    if data.data_hash != record["data_hash"]:
        raise ConfigError(
            f"the images differ from those of run={run} (data_hash {data.data_hash}, the run's is "
            f"{record['data_hash']}); set {key} to the folder of the run's images"
        )


def load_run(found: RunData, images: int) -> FinishedRun:
    """Load the network of a run and draw its images."""
    folder, data, machine = found.folder, found.data, found.config["machine"]
    kind, number = hardware.accelerator(machine), hardware.one_device(machine)
    device = torch.device("cuda", number) if kind in ("gpu", "cuda") else torch.device(kind)
    net = load(folder.name, folder.parent).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for parameter in net.parameters():  # maps and attacks need gradients of images and features only
        parameter.requires_grad_(False)
    return FinishedRun(
        folder, found.config, found.record, net, data.preprocess, sample(data, "test", images),
        sample(data, "val" if len(data.val) else "train", images), str(data.data_hash), device,
        bf16=found.precision.startswith("bf16"),
    )  # fmt: skip
