"""`bench gpu`: the checks and bars of training on a GPU, most important first, within a budget of time."""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from attnlab.benchmarks import gpu_bars
from attnlab.benchmarks.bare_loop import as_set, optimizer, random_batch
from attnlab.benchmarks.gpu_bars import ALONE, RESNET50, TOGETHER, Bar, Clock, rate_bars, run_sweep
from attnlab.benchmarks.gpu_checks import NETS, Check, fail, resumed, same_weights, within_noise
from attnlab.benchmarks.options import BenchOptions, describe, setting
from attnlab.benchmarks.timing import interleaved
from attnlab.errors import AttnlabError, ConfigError
from attnlab.machine.graphs import graphs_for
from attnlab.models.network import build
from attnlab.training.chunk_classifier import as_it_is
from attnlab.training.graph_step import WARM_UP, GraphStep
from attnlab.training.lightning_noise import quiet

PARTS = ("correct", "alone", "together", "compiled", "compiled_together", "resnet50")
#: own keys and their defaults: seconds of the whole command, steps of a check, runs together, epochs of a timed run
OWN = {"seconds": "240", "steps": "50", "runs": "16", "epochs": "8", "parts": ",".join(PARTS)}
#: the runs that are timed; what the command line names replaces it
RUNS = {
    "model": "resnet20", "dataset": "cluttered_digits", "recipe": "modern", "recipe.batch_size": "128",
    "recipe.validation.images": "1000", "tracker": "csv", "machine.graph": "true", "force": "true",
}  # fmt: skip
REHEARSAL = "machine=cpu model=resnet8 steps=4 runs=2 parts=correct,alone,together"
AHEAD_SECONDS = 60.0  # that compiling may take longer than the checks
BATCHES = (96, 256)  # of ResNet-50


class GpuBench:
    """One call of the command. options: its arguments;  folder: for the runs, which are not kept."""

    def __init__(self, options: BenchOptions, folder: Path) -> None:
        own = OWN | dict(options.own)
        self.options, self.folder, self.log = options, folder, folder / "log"
        self.parts = own["parts"].split(",")
        if unknown := [part for part in self.parts if part not in PARTS]:
            raise ConfigError(f"wrong value parts={unknown[0]}; allowed are {', '.join(PARTS)}")
        numbers = {key: own[key] for key in ("seconds", "steps", "runs", "epochs")}
        for key, text in numbers.items():
            if not text.isdecimal() or int(text) < 1:
                raise ConfigError(f"wrong value {key}={text}; allowed is an integer from 1")
        seconds, self.steps, self.runs, self.epochs = (int(text) for text in numbers.values())
        self.clock = Clock(seconds)
        typed = dict(override.split("=", 1) for override in options.overrides)
        self.base = RUNS | {"recipe.epochs": str(self.epochs)} | typed

    def checks(self) -> list[Check]:
        """The checks of correctness; one that raises an error does not hold."""
        small = self.base | {"recipe.epochs": "2", "dataset.train_size": "2000", "dataset.test_size": "200"}
        small |= {"recipe.validation.images": "200", "machine.precision": "32-true", "deterministic": "true"}
        small |= {key: self.base[key] for key in ("dataset.train_size", "recipe.validation.images") if key in self.base}
        resume = [f"{key}={value}" for key, value in small.items()]
        wanted: dict[str, Callable[[], Check]] = {
            f"{name}, float32": partial(same_weights, self.options, name, self.steps) for name in NETS
        }
        wanted |= {f"{name}, bf16": partial(within_noise, self.options, name, self.steps) for name in ("none", "CBAM")}
        wanted["a resumed run"] = partial(resumed, resume, self.folder / "resumed")
        if "compiled" in self.parts:
            wanted["SE, compiled"] = partial(within_noise, self.options, "SE", self.steps, compiled=True)
        return [self._check(name, check) for name, check in wanted.items()]

    def _check(self, name: str, check: Callable[[], Check]) -> Check:
        if self.clock.left < 0:
            return Check(name, None, "not run: out of time")
        try:
            with self.log.open("a") as log, redirect_stdout(log):
                return check()
        except (RuntimeError, AttnlabError) as error:
            return Check(name, False, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")

    def rates(self, part: str, **overrides: str) -> Mapping[str, float] | str:
        """{attention: images per second} of a sweep, or the reason for which it has none."""
        if part.removesuffix("_cbam") not in self.parts:
            return "not in parts="
        if self.clock.left < 10:
            return "out of time"
        try:
            keys = {key.replace("__", "."): value for key, value in overrides.items()}
            return gpu_bars.names_of(run_sweep(self.base | keys, self.folder / part, self.clock.left, self.log))
        except AttnlabError as error:
            return str(error)

    def together(self, part: str, compiled: bool) -> list[Bar]:
        """The bars of many runs. A run of CBAM is shorter, since it is slower."""
        seeds, found = ",".join(map(str, range(self.runs))), {}
        found["none"] = self.rates(
            part, attention="none", seed=seeds, n_jobs="null", runs_per_gpu="auto", machine__compile=str(compiled)
        )
        found["cbam"] = self.rates(
            f"{part}_cbam", attention="cbam", seed=seeds, n_jobs="null", runs_per_gpu="auto",
            machine__compile=str(compiled), recipe__epochs=str(max(2, self.epochs // 2)),
        )  # fmt: skip
        return [
            bar
            for name, rates in found.items()
            for bar in rate_bars({name: TOGETHER[name]}, rates, compiled=compiled, runs=self.runs)
        ]

    def resnet50(self) -> list[Bar]:
        """What an attention adds to a captured step of ResNet-50."""
        reason = "not in parts=" if "resnet50" not in self.parts else "out of time" if self.clock.left < 15 else ""
        if not reason and not torch.cuda.is_available():
            reason = "no GPU"
        bars = []
        for batch in BATCHES:
            seconds = {}
            try:
                if not reason:  # one after the other: three graphs together need more memory than a GPU has
                    seconds = {name: self._resnet50_seconds(name, batch) for name in ("none", *RESNET50)}
            except (RuntimeError, AttnlabError) as error:
                reason = str(error).strip().splitlines()[0]
            for name, most in RESNET50.items():
                extra = 100 * (seconds[name] / seconds["none"] - 1) if seconds else None
                floor = f" ({gpu_bars.FLOOR_OF_SE})" if name == "se" else ""
                case = f"ResNet-50, 224 px, batch {batch}: {name} adds{floor}"
                bars.append(Bar(case, most, "%", False, extra, reason))
        return bars

    def _resnet50_seconds(self, attention: str, batch: int) -> float:
        """Seconds of a captured step, the median over the rounds of `repeats=`."""
        step = {"step": self._resnet50_step(attention, batch)}
        seconds = interleaved(step, self.options.repeats, least=0.05, warm_up=WARM_UP + 1)["step"]
        step.clear()
        torch.cuda.empty_cache()
        return statistics.median(seconds)

    def _resnet50_step(self, attention: str, batch: int) -> Callable[[], object]:
        values = BenchOptions().values(
            "model=timm", "model.name=resnet50", "dataset=imagenet", "dataset.root=.", "recipe=modern",
            f"recipe.batch_size={batch}", attention=attention,
        )  # fmt: skip
        here = setting(values)
        net = as_set(build(values), here)
        step = GraphStep(net, optimizer(net, values["recipe"]), graphs_for("gpu"), batch_size=batch, on_failure=fail)
        images = random_batch(values, here)

        def call() -> object:
            with here.autocast():
                return step(images, as_it_is)

        return call

    def compile_ahead(self) -> "subprocess.Popen[bytes] | None":
        """Fill the compiler's cache in other processes while the checks run."""
        if not {"compiled", "compiled_together"} & {*self.parts}:
            return None
        keys = self.base | {"attention": "none,se,cbam", "n_jobs": "3", "machine.compile": "true"}
        keys |= {"machine.batches": "8", "output_dir": str(self.folder / "ahead")}  # trials of eight steps
        arguments = [f"{key}={value}" for key, value in keys.items()]
        return subprocess.Popen(
            [sys.executable, "-m", "attnlab.run", "-m", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def gpu(options: BenchOptions) -> dict[str, Any]:
    """All checks and bars, as JSON data. Raises ConfigError without a GPU, unless machine= chooses another device."""
    if not torch.cuda.is_available() and not any(key.startswith("machine") for key in options.overrides):
        raise ConfigError(f"bench gpu: needs a GPU, and this machine has none; {REHEARSAL} rehearses it on the CPU")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts: deterministic matrix products
    quiet()
    with tempfile.TemporaryDirectory(prefix="attnlab-bench-") as folder:
        bench = GpuBench(options, Path(folder))
        ahead = bench.compile_ahead()
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)
            checks = bench.checks() if "correct" in bench.parts else []
            torch.use_deterministic_algorithms(False)
            if ahead:
                with suppress(subprocess.TimeoutExpired):
                    ahead.wait(AHEAD_SECONDS)
        finally:
            if ahead:
                gpu_bars.stop(ahead)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        three = {"attention": "none,se,cbam", "n_jobs": "1"}
        bars = rate_bars(ALONE, bench.rates("alone", machine__compile="false", **three), compiled=False)
        bars += bench.together("together", compiled=False)
        bars += rate_bars(ALONE, bench.rates("compiled", machine__compile="true", **three), compiled=True)
        bars += bench.together("compiled_together", compiled=True)
        bars += bench.resnet50()
        machine = describe(setting(options.values("recipe=modern")))
    asked_here = any(name in machine["device"] for name in ("H100", "H200"))
    found = [asdict(bar) | {"verdict": bar.verdict(asked_here)} for bar in bars]
    return {"command": "gpu", "machine": machine, "checks": [asdict(check) for check in checks], "bars": found}
