"""`bench gpu`, rehearsed on a CPU: its arguments, its checks, its sweeps and its verdicts."""

import json
import sys
from dataclasses import asdict

import pytest
import torch
from warm import warm

from attnlab.benchmarks import gpu_table
from attnlab.benchmarks.gpu import OWN, GpuBench, gpu
from attnlab.benchmarks.gpu_bars import ALONE, Bar, Clock, rate_bars, run_sweep
from attnlab.benchmarks.gpu_checks import resumed, same_weights, within_noise
from attnlab.benchmarks.options import BenchOptions
from attnlab.errors import AttnlabError, ConfigError

TINY = ("machine=cpu", "model=resnet8", "recipe.batch_size=10")
RUN = {
    "machine": "cpu", "machine.graph": "true", "machine.threads": "1", "model": "resnet8", "tracker": "csv",
    "dataset.train_size": "120", "dataset.test_size": "50", "recipe.validation.images": "20", "recipe.epochs": "2",
    "recipe.batch_size": "10",
}  # fmt: skip


def test_a_bar_has_a_verdict():
    bar = Bar("a rate", 100, "images/s", found=120.0)
    assert bar.verdict(True) == "reached"
    assert bar.verdict(False) == "none: asked of an H100 or H200"
    assert Bar("a rate", 100, "images/s", found=80.0).verdict(True) == "missed"
    assert Bar("extra", 10, "%", False, found=9.0).verdict(True) == "reached"
    assert Bar("extra", 10, "%", False, found=11.0).verdict(True) == "missed"
    assert Bar("a rate", 100, "images/s", reason="out of time").verdict(True) == "not run: out of time"


def test_a_sweep_without_a_rate_gives_its_reason_to_every_bar():
    bars = rate_bars(ALONE, "out of time", compiled=True)
    assert [bar.asked for bar in bars] == [65_000, 50_000, 30_000]
    assert {bar.verdict(True) for bar in bars} == {"not run: out of time"}


def test_the_checks_hold_on_a_cpu(tmp_path):
    options = BenchOptions(TINY)
    for check in (
        same_weights(options, "CBAM", 5),
        same_weights(options, "LTPA", 5),
        within_noise(options, "SE", 4),
        resumed([f"{key}={value}" for key, value in {**RUN, "deterministic": "true"}.items()], tmp_path / "resumed"),
    ):
        assert check.holds, check


def test_a_check_that_raises_does_not_hold(tmp_path):
    def broken():
        raise RuntimeError("CUDA error: no\nmore")

    check = GpuBench(BenchOptions(TINY), tmp_path)._check("broken", broken)
    assert (check.holds, check.found) == (False, "RuntimeError: CUDA error: no")


def test_rates_are_those_of_the_records(tmp_path):
    bench = GpuBench(BenchOptions(tuple(f"{key}={value}" for key, value in RUN.items())), tmp_path)
    rates = bench.rates("together", attention="none", seed="0,1", n_jobs="2", machine__compile="false")
    files = list((tmp_path / "together").glob("*/result.json"))
    records = [json.loads(path.read_text()) for path in files]
    assert rates == {"none": pytest.approx(sum(record["images_per_second"] for record in records))}
    assert len(records) == 2
    assert bench.rates("alone", attention="sse") == bench.log.read_text().strip().split("\n")[-1]
    with pytest.raises(AttnlabError, match="out of time"):
        run_sweep({**RUN, "attention": "none"}, tmp_path / "late", 0.0, tmp_path / "log")


def test_a_check_that_was_not_run_is_none_that_fails(tmp_path):
    bench = GpuBench(BenchOptions(TINY), tmp_path)
    bench.clock = Clock(-1)
    check = bench._check("late", lambda: pytest.fail("it was run"))
    assert gpu_table.check_rows({"checks": [asdict(check)]}) == [("late", "-", "not run: out of time")]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_nothing_is_run_on_the_cpu_unasked():
    with pytest.raises(ConfigError, match=r"^bench gpu: needs a GPU, and this machine has none; machine=cpu .* rehea"):
        gpu(BenchOptions(("model=resnet8",)))


@pytest.mark.parametrize("argument", ["parts=alone,fast", "steps=0", "seconds=soon"])
def test_a_wrong_argument_is_named(tmp_path, argument):
    key, _, value = argument.partition("=")
    with pytest.raises(ConfigError, match=f"wrong value {key}=.*; allowed"):
        GpuBench(BenchOptions(own={key: value}), tmp_path)


def test_the_command_prints_and_writes_its_table(tmp_path):
    path = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "attnlab.bench", "gpu", "parts=resnet50", "machine=cpu", f"json={path}"]
    done = warm(command)
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert {bar["verdict"] for bar in found["bars"]} == {"not run: not in parts=", "not run: no GPU"}
    assert "not run: no GPU" in done.stdout
    again = warm([*command[:3], "show", str(path)])
    assert again.stdout.strip() in done.stdout
    assert (
        "| ResNet-50, 224 px, batch 96: cbam adds | <= 35 % | - | not run: no GPU |"
        in warm([*command[:3], "show", str(path), "format=markdown"]).stdout
    )
    assert warm([*command[:4], "speed=1"]).stderr.startswith("attnlab: unknown key speed of gpu; allowed is KEY=VALUE")
    assert set(OWN) == {"seconds", "steps", "runs", "epochs", "parts"}
