"""Is a captured training step the step itself? The checks that come before the timings of `bench gpu`."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import attnlab
from attnlab.benchmarks.bare_loop import as_set, optimizer, random_batch
from attnlab.benchmarks.options import BenchOptions, Setting, setting
from attnlab.configuration.identity import run_id
from attnlab.machine.graphs import DirectCalls, Graphs, graphs_for
from attnlab.models.network import build
from attnlab.training.checkpointing import seed_step
from attnlab.training.chunk_classifier import as_it_is
from attnlab.training.graph_step import GraphStep

#: name -> (attention, other defaults)
NETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "none": ("none", ()), "SE": ("se", ()), "CBAM": ("cbam", ()), "LTPA": ("none", ("head=ltpa_saoyan",)),
}  # fmt: skip
SEEDS = 3  # whose spread is the noise that bfloat16 and the compiler must stay within
LAST = 10  # steps whose losses are averaged


@dataclass(frozen=True)
class Check:
    """One comparison: its name, whether it holds (None: not run), and what was found."""

    name: str
    holds: bool | None
    found: str


class EndedEarlyError(Exception):
    """Raised by a run that ends early on purpose."""


def train_steps(
    values: dict[str, Any], here: Setting, graphs: Graphs, steps: int, seed: int = 0
) -> tuple[dict[str, torch.Tensor], list[float]]:
    """(state of the net, losses) after some steps, each on random images of its own."""
    net = as_set(build(values | {"seed": seed}), here)
    own = optimizer(net, values["recipe"])
    batch_size = values["recipe"]["batch_size"]
    step = GraphStep(net, own, graphs, batch_size=batch_size, compiled=here.compile, on_failure=fail)
    losses = []
    for number in range(steps):
        batch = random_batch(values | {"seed": 1000 * seed + number % 8}, here)
        for group in own.param_groups:
            group["lr"] = 0.05 / (1 + number / steps)
        seed_step(seed, number, 0)
        with here.autocast():
            losses.append(step(batch, as_it_is)[0])
    return net.state_dict(), torch.stack(losses).tolist()


def fail(reason: str) -> None:
    """The on_failure of steps that must be captured: raises RuntimeError."""
    raise RuntimeError(f"the step cannot be captured: {reason}")


def same_weights(options: BenchOptions, name: str, steps: int) -> Check:
    """float32, deterministic: the weights and losses of a graph are those of the same step without one."""
    values, here = _setting(options, name, "32-true")
    graphs = graphs_for(_kind(here))
    weights, losses = train_steps(values, here, graphs, steps)
    one, other = (train_steps(values, here, DirectCalls(graphs.fused), steps) for _ in range(2))
    differ, own = _unequal(weights, one[0]), _unequal(other[0], one[0])
    found = f"{len(differ)} of {len(weights)} tensors differ after {steps} steps" if differ else f"{steps} steps, equal"
    if own:
        found += f"; {len(own)} tensors of the step without a graph differ when it is repeated"
    return Check(f"{name}, float32: graph = the same step without one", not differ and losses == one[1], found)


def _setting(options: BenchOptions, name: str, precision: str) -> tuple[dict[str, Any], Setting]:
    attention, defaults = NETS[name]
    values = options.values("recipe=modern", f"machine.precision={precision}", *defaults, attention=attention)
    return values, setting(values)


def _unequal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    return [key for key, tensor in one.items() if not torch.equal(tensor, other[key])]


def within_noise(options: BenchOptions, name: str, steps: int, *, compiled: bool = False) -> Check:
    """The mean last loss of a graph (compiled, or in bfloat16) against a step as Lightning calls it.

    Holds where they differ by no more than the spread of SEEDS seeds.
    """
    values, here = _setting(options, name, "32-true" if compiled else "auto")
    fast = Setting(here.device, here.precision, here.channels_last, compiled)
    slow = Setting(here.device, here.precision, here.channels_last)
    by_seed = [_mean(train_steps(values, slow, DirectCalls(), steps, seed)[1]) for seed in range(SEEDS)]
    mean, spread = _mean(train_steps(values, fast, graphs_for(_kind(here)), steps)[1]), max(by_seed) - min(by_seed)
    kind = "compiled graph" if compiled else f"graph, {here.precision}"
    found = f"loss {mean:.4f}, eager {by_seed[0]:.4f}, spread of {SEEDS} seeds {spread:.4f}"
    return Check(f"{name}: {kind} = eager, within seeds", abs(mean - by_seed[0]) <= spread, found)


def _mean(losses: Sequence[float]) -> float:
    return sum(losses[-LAST:]) / len(losses[-LAST:])


def resumed(overrides: Sequence[str], folder: Path) -> Check:
    """A run that is interrupted within an epoch and resumed against one that is not: equal weights and errors."""
    found = []
    for name in ("at once", "resumed"):
        cfg = attnlab.config([*overrides, "machine.checkpoint_minutes=0", f"output_dir={folder / name}"])
        if name == "resumed":
            with suppress(EndedEarlyError):
                attnlab.train(cfg, on_progress=_interrupt)
            begun = (Path(cfg.output_dir) / run_id(cfg) / "last.ckpt").exists()
        record = attnlab.train(cfg)
        last = torch.load(Path(cfg.output_dir) / run_id(cfg) / "last.ckpt", map_location="cpu", weights_only=True)
        found.append((last["state_dict"], record["metrics"]))
    (one, metrics), (other, again) = found
    differ = _unequal(one, other)
    holds = begun and not differ and metrics == again
    shutil.rmtree(folder, ignore_errors=True)
    text = "equal" if holds else f"{len(differ)} of {len(one)} tensors differ" if begun else "no checkpoint was written"
    return Check("a resumed run = the run at once, float32", holds, text)


def _interrupt(share: float, rate: float) -> None:
    """The on_progress of a run that ends after about a third of its steps."""
    if share >= 1 / 3:
        raise EndedEarlyError


def _kind(here: Setting) -> str:
    return "gpu" if here.device.type == "cuda" else here.device.type
