"""The parsed arguments of a benchmark, and the settings of the machine under which it runs a net."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from attnlab.configuration.compose import check, compose_file
from attnlab.errors import ConfigError
from attnlab.machine import cpu, hardware, versions

PRECISIONS = ("auto", "32-true", "bf16-mixed")


@dataclass(frozen=True)
class BenchOptions:
    """The parsed arguments of one command.

    overrides: those of attnlab.run;  attentions: of `attention=NAME,NAME`;  repeats: rounds, of `repeats=N`;
    own: {key: value} of the command's own keys, as text.
    """

    overrides: tuple[str, ...] = ()
    attentions: tuple[str, ...] = ()
    repeats: int = 11
    own: Mapping[str, str] = field(default_factory=dict)

    def values(self, *defaults: str, attention: str = "none") -> dict[str, Any]:
        """The checked config with this attention.

        defaults: overrides that the user's overrides replace; with experiment= or table= they are not used at all.
        """
        named = {override.partition("=")[0] for override in self.overrides}
        composed = {"experiment", "table"} & named
        kept = [d for d in defaults if not composed and d.partition("=")[0] not in named]
        mask = [o for o in self.overrides if o.startswith(("attention.", "attention/"))] if attention == "none" else []
        own = [o for o in self.overrides if o not in mask]
        return check(compose_file("run", [*kept, f"attention={attention}", *own]))

    def flag(self, key: str) -> bool:
        """The boolean value of an own key, false by default. Raises ConfigError."""
        text = self.own.get(key, "false").lower()
        if text not in ("true", "false"):
            raise ConfigError(f"wrong value {key}={self.own[key]}; allowed is true or false")
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
        """The dtype of the features between layers."""
        return torch.bfloat16 if self.precision == "bf16-mixed" else torch.float32

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[Any]:
        """The autocast context that Lightning uses for this precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed")


def setting(values: Mapping[str, Any]) -> Setting:
    """The settings of a config's `machine`; torch's number of threads is set to it. Raises ConfigError for a precision
    that benchmarks do not support."""
    machine = values["machine"]
    if machine["precision"] not in PRECISIONS:
        raise ConfigError(
            f"wrong value machine.precision={machine['precision']}; allowed in a benchmark are {', '.join(PRECISIONS)}"
        )
    hardware.set_threads(machine)
    hardware.keep_memory(machine)
    kind = hardware.accelerator(machine)
    device = torch.device("cuda" if kind in ("gpu", "cuda") else kind)
    return Setting(device, hardware.precision(machine), machine["channels_last"], hardware.compiles(machine))


def plain_setting(here: Setting) -> Setting:
    """The baseline of comparisons: float32, NCHW, eager, on the same device."""
    return Setting(here.device, "32-true", False, False)


def describe(here: Setting) -> dict[str, Any]:
    """Device, threads, settings, versions, commit and command, as `machine` of a Report."""
    commit, dirty = versions.commit()
    no_paths = ("json", "dataset.root", "output_dir")  # paths of this machine are not recorded
    typed = [a for a in sys.argv[1:] if a.partition("=")[0] not in no_paths]
    return {
        "device": hardware.device_name(here.device),
        "matrix_units": cpu.matrix_units() if here.device.type == "cpu" else "",
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
    """The names if all are allowed, or all allowed names if `names` is empty. Raises ConfigError."""
    for name in names:
        if name not in allowed:
            known = ", ".join(sorted(allowed, key=len))
            raise ConfigError(f"wrong value attention={name}; allowed in this benchmark are {known}")
    return list(names or allowed)
