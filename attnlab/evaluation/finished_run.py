"""A finished run as what is judged and looked at: its trained network, and images that it was never trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attnlab.configuration.identity import name_of
from attnlab.data.augment import Preprocess
from attnlab.data.base import ImageData
from attnlab.data.build import folders_of, make_datamodule
from attnlab.data.memory import Images
from attnlab.data.subset import sample
from attnlab.errors import ConfigError
from attnlab.machine import hardware
from attnlab.models.network import build, load
from attnlab.records.record import Record, believed, find_run, read_config

BATCH = 250  # images at a time


@dataclass(frozen=True)
class Subject:
    """test: stratified test images, uint8;  other: others, of the validation images where there are any, else of the
    training images, for whatever must be chosen;  device: where the network is."""

    folder: Path
    config: dict[str, Any]
    record: Record
    net: nn.Module
    preprocess: Preprocess
    test: Images
    other: Images
    data_hash: str
    device: torch.device
    fast: bool
    names: list[str] | None = None

    @property
    def run(self) -> str:
        """The run's id."""
        return self.folder.name

    @property
    def classes(self) -> int:
        return int(self.config["dataset"]["classes"])

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> what the network was trained on, float32, on its device."""
        x = self.preprocess(images.to(self.device))
        return x.contiguous(memory_format=torch.channels_last)

    def batches(self, images: Tensor) -> list[Tensor]:
        """Normalised, BATCH at a time."""
        return [self.normalised(part) for part in images.split(BATCH)]

    def logits(self, x: Tensor) -> Tensor:
        """Normalised (B, 3, H, W) -> logits (B, classes), float32, in the machine's precision."""
        kind = torch.bfloat16
        with torch.no_grad(), torch.autocast(self.device.type, kind, enabled=self.fast):
            return self.net(x).float()

    def all_logits(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) -> logits (N, classes)."""
        return torch.cat([self.logits(x) for x in self.batches(images)])

    @cached_property
    def class_names(self) -> list[str]:
        """The names of the classes where the dataset has them, else their numbers."""
        return self.names or [str(number) for number in range(self.classes)]

    def fresh(self, number: int = 0) -> nn.Module:
        """A network of the same config that has learnt nothing, of another seed for each number."""
        values = self.config | {"seed": self.config["seed"] + 1 + number, "start_from": None}
        values["model"] = values["model"] | ({"pretrained": False} if "pretrained" in values["model"] else {})
        return build(values).to(self.device).eval()


@dataclass(frozen=True)
class Source:
    """A finished run and its images, before its network is read. config: its own, with this machine and these folders;
    data: its data module, set up;  precision: in which it counts errors, of the run's own or machine.precision."""

    folder: Path
    config: dict[str, Any]
    record: Record
    data: ImageData
    precision: str


def read_subject(
    run: str, output_dir: str | Path, machine: Mapping[str, Any], folders: Sequence[str], images: int
) -> Subject:
    """The subject of a finished run in output_dir: of its source, see `read_source`.

    images: how many test images, and how many others.
    """
    return subject_of(read_source(run, output_dir, machine, folders), images)


def read_source(run: str, output_dir: str | Path, machine: Mapping[str, Any], folders: Sequence[str]) -> Source:
    """The source of a finished run in output_dir.

    machine: a config's machine;  folders: overrides, dataset.root=DIR where the images lie elsewhere than usual.
    Raises ConfigError for a run that is not there or not to be believed, for images that are not those it was trained
    and tested on, and for a machine that cannot be had.
    """
    folder = find_run(run, output_dir)
    record = believed(folder)
    hardware.one_device(machine)
    precision = hardware.precision_of(record, machine)
    values = read_config(folder)
    dataset = name_of("dataset", values["dataset"], values).split()[0]
    values |= {"machine": dict(machine), "dataset": values["dataset"] | folders_of(dataset, folders)}
    hardware.set_threads(machine)
    data = make_datamodule(values)
    data.setup()
    check_images(folder.name, data, record)
    return Source(folder, values, record, data, precision)


def check_images(run: str, data: ImageData, record: Record, key: str = "dataset.root") -> None:
    """Raise ConfigError where a run saw other images than are there; key: what says where they lie."""
    if data.data_hash != record["data_hash"]:
        raise ConfigError(
            f"run={run}: saw other images (data_hash {record['data_hash']}) than are there ({data.data_hash}); "
            f"{key} says where they lie"
        )


def subject_of(source: Source, images: int) -> Subject:
    """The subject of a source: its network read, images drawn."""
    folder, data, machine = source.folder, source.data, source.config["machine"]
    kind, number = hardware.accelerator(machine), hardware.one_device(machine)
    device = torch.device("cuda", number) if kind in ("gpu", "cuda") else torch.device(kind)
    net = load(folder.name, folder.parent).to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for parameter in net.parameters():  # gradients here are those of images
        parameter.requires_grad_(False)
    return Subject(
        folder, source.config, source.record, net, data.preprocess, sample(data, "test", images),
        sample(data, "val" if len(data.val) else "train", images), str(data.data_hash), device,
        fast=source.precision.startswith("bf16"), names=data.names,
    )  # fmt: skip
