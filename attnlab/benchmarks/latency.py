"""What attention costs in use: the time of one inference of a net with an attention over that of the net without it.

attention=NAME,NAME measures these in one model; table=NAME measures the nets of a declared table, each over the
baseline of its column. batches=1,128 are the batch sizes, engines=eager,compiled,graph,onnx the ways to run a net:
graph is a CUDA graph; onnx is ONNX Runtime on the CPU, always in float32. The CPU is measured, and the GPU where there
is one; machine.accelerator=cpu or gpu chooses one of them. Other engines than onnx have machine.precision, 32-true
unless it is given. The nets of a group are timed in turn. attnlab.tables.latency reads the report as columns of a
table.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from torch import nn

from attnlab.benchmarks.engines import ENGINES, Call, many_compiled_nets, missing_packages
from attnlab.benchmarks.options import BenchOptions, Setting, describe, setting
from attnlab.benchmarks.report import Report, Row
from attnlab.benchmarks.step import net_name
from attnlab.benchmarks.timing import interleaved
from attnlab.configuration.messages import unknown_choice, wrong_value
from attnlab.errors import ConfigError
from attnlab.machine import hardware
from attnlab.models.network import build
from attnlab.tables.grid import Grid, read_grid
from attnlab.tables.latency import column, net_digest

ATTENTIONS = ("se", "eca", "cbam", "simam", "coordinate")
BATCHES = "1,128"
PRECISION = "machine.precision=32-true"


class Group(NamedTuple):
    """Nets that are compared: {label: checked config}, the baseline first."""

    name: str
    nets: dict[str, dict[str, Any]]


def latency(options: BenchOptions) -> Report:
    """Each net over its baseline, for every device, batch size and engine."""
    engines, left_out = _engines(options)
    batches, groups = _batches(options), _groups(options)
    machine = next(iter(groups[0].nets.values()))["machine"]
    kinds = _kinds(machine)
    rows: list[Row] = []
    machines = []
    for kind in kinds:
        here = setting({"machine": machine | {"accelerator": kind}})
        machines.append(describe(here))
        for engine in (name for name in engines if here.device.type in ENGINES[name][1]):
            for group in groups:
                for batch in batches:
                    measured, failed = _measure(group, here, engine, batch, options.repeats)
                    rows += measured
                    left_out += failed
    if not rows:
        raise ConfigError(f"nothing was measured: {'; '.join(left_out) or 'no engine runs on this device'}")
    devices = " and ".join(one["device"] for one in machines)
    packages = dict(machines[0]["versions"])
    if "onnx" in engines:
        packages["onnxruntime"] = version("onnxruntime")
    summary = {"not measured": "; ".join(left_out)} if left_out else {}
    title = "one inference of a net with an attention over the same net without it"
    return Report("latency", title, rows, machines[0] | {"device": devices, "versions": packages}, summary)


def _engines(options: BenchOptions) -> tuple[list[str], list[str]]:
    """(engines, a text for each that is left out). Raises ConfigError for an engine that is named and not there."""
    if (text := options.own.get("engines")) is None:
        lacking = {engine: missing_packages(engine) for engine in ENGINES}
        left_out = [f"{engine} (install attnlab[{engine}])" for engine, packages in lacking.items() if packages]
        return [engine for engine, packages in lacking.items() if not packages], left_out
    names = text.split(",")
    for name in names:
        if name not in ENGINES:
            raise ConfigError(unknown_choice("engines", name, ENGINES))
        if packages := missing_packages(name):
            raise ConfigError(f"missing package {packages[0]}, which engines={name} needs; install attnlab[{name}]")
    return names, []


def _batches(options: BenchOptions) -> list[int]:
    text = options.own.get("batches", BATCHES)
    if any(not one.isdecimal() or int(one) < 1 for one in text.split(",")):
        raise ConfigError(wrong_value("batches", text, "a list of integers from 1, with commas between"))
    return [int(one) for one in text.split(",")]


def _kinds(machine: Mapping[str, Any]) -> list[str]:
    """The accelerators to measure: the one that is named; with auto the CPU, and the GPU where there is one."""
    if machine["accelerator"] != "auto":
        return [machine["accelerator"]]
    return ["cpu", "gpu"] if hardware.accelerator(machine) == "gpu" else ["cpu"]


def _groups(options: BenchOptions) -> list[Group]:
    """What is compared: the attentions of `attention=` in one model, or the rows of each column of a table."""
    if any(override.startswith("table=") for override in options.overrides):
        attentions = [f"attention={','.join(options.attentions)}"] if options.attentions else []
        precision = [] if any(o.startswith("machine.precision=") for o in options.overrides) else [PRECISION]
        grid = read_grid([*options.overrides, *attentions, *precision])
        return [_column(grid, name) for name in grid.columns]
    names = [name for name in dict.fromkeys(options.attentions or ATTENTIONS) if name != "none"]
    return [Group(net_name(options), {name: options.values(PRECISION, attention=name) for name in ("none", *names)})]


def _column(grid: Grid, name: str) -> Group:
    """The nets of one column of a table, each once; a twin has the net of its row. Raises ConfigError without the
    baseline."""
    cells = {cell.row: cell.config for cell in grid.cells if cell.column == name}
    baseline = grid.table["baseline"]
    if baseline not in cells:
        raise ConfigError(f"table={grid.name}: its baseline, {baseline}, is not selected, and latencies are over it")
    nets: dict[str, tuple[str, dict[str, Any]]] = {}
    for row in (baseline, *(row for row in cells if row != baseline)):
        nets.setdefault(net_digest(cells[row]), (row, cells[row]))
    return Group(f"table={grid.name}{f' {name}' if name else ''}", dict(nets.values()))


def _measure(group: Group, here: Setting, engine: str, batch: int, repeats: int) -> tuple[list[Row], list[str]]:
    """(a row for each net over the baseline, a text for each net that this engine cannot run)."""
    prepare, _ = ENGINES[engine]
    calls: dict[str, Call] = {}
    left_out = []
    with many_compiled_nets(len(group.nets)):
        for label, values in group.nets.items():
            try:
                calls[label] = prepare(*_net_and_images(values, batch, here), here)
                calls[label]()  # compiles
            except Exception as error:  # an exporter or a compiler may raise anything
                if engine == "eager":
                    raise
                reason = next(iter(str(error).splitlines()), "")
                left_out.append(f"{engine} of {label}, batch {batch} ({type(error).__name__}: {reason})")
        baseline, *others = group.nets
        if baseline not in calls:
            return [], left_out
        seconds = interleaved(calls, repeats)
    return [_row(group, here, engine, batch, label, seconds) for label in others if label in calls], left_out


def _row(
    group: Group, here: Setting, engine: str, batch: int, label: str, seconds: Mapping[str, Sequence[float]]
) -> Row:
    baseline = next(iter(group.nets))
    nets = "/".join(net_digest(group.nets[name]) for name in (label, baseline))
    facts = {"column": column(here.device.type, batch, engine), "nets": nets}
    pair = {name: seconds[name] for name in (label, baseline)}
    return Row(f"{group.name}, {here.device.type}, batch {batch}, {engine}", pair, label, baseline, facts=facts)


def _net_and_images(values: Mapping[str, Any], batch: int, here: Setting) -> tuple[nn.Module, torch.Tensor]:
    """(the net in eval mode, images (batch, 3, H, W) of normal noise), on the device, in its memory format."""
    size = values["dataset"]["image_size"]
    net = build(values).eval().to(here.device)
    net.to(memory_format=here.memory_format)  # type: ignore[call-overload]
    x = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0)).to(here.device)
    return net, x.contiguous(memory_format=here.memory_format)
