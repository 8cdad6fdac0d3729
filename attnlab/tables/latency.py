"""Columns of a table that show what attention costs in use: `cost/latency_b1`, from a file of `attnlab.bench latency`.

A column is cost/latency[_gpu]_bBATCH[_ENGINE]. It shows the time of one inference of a row's net over that of the
baseline's net: median and quartiles of the ratios of the rounds. All numbers of a page come from one file, so from one
machine; training times are never used.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnlab.configuration.digest import digest
from attnlab.configuration.identity import decisive
from attnlab.errors import ConfigError

#: below output_dir, and below ./results
FILE = Path("bench") / "latency.json"
PATTERN = re.compile(r"cost/latency(?P<gpu>_gpu)?_b(?P<batch>[1-9]\d*)(?:_(?P<engine>compiled|graph|onnx))?")
ALLOWED = "cost/latency_b1 with another batch, _gpu before _b1, and _compiled, _graph or _onnx behind it"
ENGINES = {None: "", "compiled": ", compiled", "graph": ", CUDA graph", "onnx": ", ONNX Runtime"}


@dataclass(frozen=True)
class Latency:
    """A ratio of latencies over the rounds: median, first quartile (low), third quartile (high)."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Latencies:
    """One file of latencies.

    path: from the folder of the runs if it lies there, so that a page does not depend on where that folder is;
    machine: what it was measured on;  ratios: {(column, net, baseline's net): ratio}, nets by `net_digest`.
    """

    path: Path
    machine: str
    ratios: Mapping[tuple[str, str, str], Latency]

    def of(self, column: str, config: Mapping[str, Any], baseline: Mapping[str, Any]) -> Latency | None:
        """The ratio of a config's net over the baseline's; None where it was not measured."""
        net, other = net_digest(config), net_digest(baseline)
        if net == other:
            measured = any(key[0] == column and other in key[1:] for key in self.ratios)
            return Latency(1.0, 1.0, 1.0) if measured else None
        return self.ratios.get((column, net, other))


def is_latency(metric: str) -> bool:
    """Whether a metric of a table is a column of latencies."""
    return PATTERN.fullmatch(metric) is not None


def column(device: str, batch: int, engine: str) -> str:
    """The name of a column. device: cpu or cuda."""
    return f"cost/latency{'_gpu' if device == 'cuda' else ''}_b{batch}{'' if engine == 'eager' else f'_{engine}'}"


def heading(name: str, baseline: str) -> str:
    """`latency / none, batch 1`, with the GPU and the engine where they are named."""
    found = PATTERN.fullmatch(name)
    assert found is not None
    return f"latency / {baseline}, batch {found['batch']}{', GPU' if found['gpu'] else ''}{ENGINES[found['engine']]}"


def net_digest(config: Mapping[str, Any]) -> str:
    """A digest of what decides the cost of a config's net: model, attention without its draw, head, classes, size."""
    parts = {section: decisive(section, config[section]) for section in ("model", "attention", "head")}
    parts["attention"].pop("draw", None)
    return digest(parts | {key: config["dataset"].get(key) for key in ("classes", "image_size")})


def read_latencies(*folders: Path) -> Latencies | None:
    """The file bench/latency.json of the first folder that has one; None without any. The first is that of the runs.

    Raises ConfigError for a file that `attnlab.bench latency` did not write.
    """
    path = next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    if path is None:
        return None
    try:
        kept = json.loads(path.read_text())
        if kept["command"] != "latency":
            raise ValueError(kept["command"])
        ratios = {
            (row["facts"]["column"], *row["facts"]["nets"].split("/")): Latency(**row["ratio"]) for row in kept["rows"]
        }
        threads = kept["machine"]["threads"]
        machine = f"{kept['machine']['device']}, {threads} thread{'s' * (threads > 1)}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"not a file that attnlab.bench latency wrote: {path}") from error
    return Latencies(FILE if path == folders[0] / FILE else path, machine, ratios)
