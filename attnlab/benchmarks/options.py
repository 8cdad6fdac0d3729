"""What a benchmark was asked for, and the settings of the machine it measures."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from attnlab.configuration.compose import check, compose_file
from attnlab.errors import ConfigError
from attnlab.machine import hardware, versions

PRECISIONS = ("auto", "32-true", "bf16-mixed")


@dataclass(frozen=True)
class Asked:
    """The arguments of one command: overrides of attnlab.run, the attentions of `attention=NAME,NAME`, the rounds of
    `repeats=N`, and the keys that are the command's own, as typed."""

    overrides: tuple[str, ...] = ()
    attentions: tuple[str, ...] = ()
    repeats: int = 11
    own: Mapping[str, str] = field(default_factory=dict)

    def values(self, *defaults: str, attention: str = "none") -> dict[str, Any]:
        """The checked config of `attention`. defaults: overrides that the user's own come after; one of a group that
        the user chose, or that a chosen experiment or table may choose, is left out."""
        named = {override.partition("=")[0] for override in self.overrides}
        composed = {"experiment", "table"} & named
        kept = [d for d in defaults if not composed and d.partition("=")[0] not in named]
        mask = [o for o in self.overrides if o.startswith(("attention.", "attention/"))] if attention == "none" else []
        own = [o for o in self.overrides if o not in mask]
        return check(compose_file("run", [*kept, f"attention={attention}", *own]))

    def flag(self, key: str) -> bool:
        """true or false of an own key, false by default. Raises ConfigError."""
        text = self.own.get(key, "false").lower()
        if text not in ("true", "false"):
            raise ConfigError(f"{key}={self.own[key]}: allowed are true, false")
        return text == "true"


@dataclass(frozen=True)
class Setting:
    """How a net is run: device, precision (32-true or bf16-mixed), channels_last, compile, and whether gates and norms
    are exchanged for their fused forms where these apply."""

    device: torch.device
    precision: str
    channels_last: bool
    compile: bool = False
    accelerate: bool = True

    @property
    def dtype(self) -> torch.dtype:
        """Of the features between layers."""
        return torch.bfloat16 if self.precision == "bf16-mixed" else torch.float32

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[Any]:
        """What Lightning's precision puts around the training step."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed")


def setting(values: Mapping[str, Any]) -> Setting:
    """The settings of a config's `machine`, its threads given to torch. Raises ConfigError for a precision that a
    benchmark does not know."""
    machine = values["machine"]
    if machine["precision"] not in PRECISIONS:
        raise ConfigError(
            f"machine.precision={machine['precision']}: allowed in a benchmark are {', '.join(PRECISIONS)}"
        )
    hardware.set_threads(machine)
    hardware.keep_memory(machine)
    kind = hardware.accelerator(machine)
    device = torch.device("cuda" if kind in ("gpu", "cuda") else kind)
    return Setting(device, hardware.precision(machine), machine["channels_last"], hardware.compiles(machine))


def plain_setting(here: Setting) -> Setting:
    """Float32, NCHW, eager, on the same device: what the others are measured against."""
    return Setting(here.device, "32-true", False, False)


def describe(here: Setting) -> dict[str, Any]:
    """Device, threads, settings, versions, commit and command, for a Report."""
    commit, dirty = versions.commit()
    typed = [a for a in sys.argv[1:] if a.partition("=")[0] not in ("json", "dataset.root", "output_dir")]  # no paths
    return {
        "device": hardware.device_name(here.device),
        "threads": torch.get_num_threads(),
        "precision": here.precision,
        "channels_last": here.channels_last,
        "compile": here.compile,
        "versions": versions.installed(),
        "commit": commit,
        "dirty": dirty,
        "command": " ".join(["python -m attnlab.bench", *typed]),
    }


def one_of(names: Sequence[str], allowed: Sequence[str]) -> list[str]:
    """The names, all of them allowed; none = all that are. Raises ConfigError."""
    for name in names:
        if name not in allowed:
            raise ConfigError(f"attention={name}: allowed here are {', '.join(allowed)}")
    return list(names or allowed)
