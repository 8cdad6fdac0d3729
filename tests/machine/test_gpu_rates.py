"""Measured rates: the time that runs take, and when compiling pays. None is invented for what was not measured."""

import os
import sys

import pytest
from warm import warm

import attnlab
from attnlab.configuration.compose import check
from attnlab.launch.expected_time import estimate
from attnlab.machine import compiler, gpus, hardware
from attnlab.machine.gpu_rates import MEASURED_ON, expected_seconds, rate_of, training_images
from attnlab.machine.sharing import Sharing

CIFAR = ["dataset=cifar10", "dataset.root=.", "model=resnet20", "recipe=simam2021", "recipe.validation.images=0"]
GPU = f"{MEASURED_ON} 141GB"


def values(*overrides):
    return check(attnlab.config([*CIFAR, *overrides]))


def test_images_are_those_that_a_run_trains_on():
    assert training_images(values("recipe.epochs=3", "recipe.steps=null")) == 150_000
    assert training_images(values("recipe.epochs=3", "recipe.steps=null", "recipe.validation.images=5000")) == 135_000
    assert training_images(values("recipe.steps=64000")) == 64_000 * 128
    assert training_images(check(attnlab.config(["recipe.epochs=1", "recipe.validation.images=0"]))) == 20_000


def test_a_run_takes_its_images_over_the_rate():
    run = values("recipe.steps=64000")
    assert expected_seconds(run, GPU) == pytest.approx(64_000 * 128 / 63_500)
    assert expected_seconds(run, GPU, 16, side_by_side=True) == pytest.approx(64_000 * 128 * 16 / 146_000)
    assert expected_seconds(run, GPU, 16) == pytest.approx(64_000 * 128 * 16 / 63_500)  # in turns
    assert expected_seconds(run, GPU, 2, side_by_side=True) == pytest.approx(64_000 * 128 / 63_500)


@pytest.mark.parametrize(
    "other",
    ["model=resnet56", "attention=bam", "recipe.batch_size=64", "machine.graph=false", "machine.precision=32-true",
     "attention.stages=[2]"],
)  # fmt: skip
def test_what_was_not_measured_has_no_number(other):
    assert expected_seconds(values("attention=se", "recipe.steps=1000", other), GPU) is None


def test_rates_hold_for_their_gpu_and_an_inverse_costs_what_its_score_costs():
    assert expected_seconds(values("recipe.steps=1000"), "NVIDIA A100") is None
    assert expected_seconds(values("recipe.steps=1000"), None) is None
    assert rate_of(values("attention=ise")) == rate_of(values("attention=se"))


def test_compiling_pays_in_long_runs_of_measured_nets(monkeypatch):
    monkeypatch.setattr(hardware, "accelerator", lambda machine: "gpu")
    monkeypatch.setattr(hardware, "precision", lambda machine: "bf16-mixed")
    pays = {
        (name, steps): compiler.compiling_pays(values(f"attention={name}", f"recipe.steps={steps}"), 50_000)
        for name in ("none", "cbam", "bam")
        for steps in (7_800, 64_000, 128_000)
    }
    # saved: none 0.41 ms a step, so 90,000 steps pay for 37 s; CBAM 2.4 ms, so 15,500 do; BAM was not measured
    assert [key for key, value in pays.items() if value] == [("none", 128_000), ("cbam", 64_000), ("cbam", 128_000)]
    assert not compiler.compiling_pays(values("attention=cbam", "recipe.steps=64000", "deterministic=true"), 50_000)
    assert not compiler.compiling_pays(values("attention=cbam", "recipe.steps=64000", "machine.compile=false"), 50_000)


def test_compiling_never_pays_on_a_cpu():
    assert not compiler.compiling_pays(values("attention=cbam", "recipe.steps=640000", "machine=cpu"), 50_000)


def test_one_process_compiles_a_net_while_others_wait(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = "import sys; from attnlab.machine.compiler import compile_turn\nwith compile_turn('net'): print('in')"
    with compiler.compile_turn("other"):
        assert warm([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}).stdout == "in\n"


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """nvidia-smi on PATH, which names two GPUs."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{GPU}'\necho '{GPU}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")


def test_jobs_are_spread_over_the_gpus(smi):
    assert gpus.name() == GPU
    run = values("recipe.steps=64000")
    alone = expected_seconds(run, GPU)
    assert estimate(None, 2)(run) == alone
    with_mps = Sharing(16, True)
    share = min(with_mps.runs, 8)
    assert estimate(with_mps, 16)(run) == expected_seconds(run, GPU, share, side_by_side=True)


def test_a_dry_run_and_a_table_say_how_long_runs_take(smi, tmp_path):
    run = [sys.executable, "-m", "attnlab.run", "dry_run=true", "n_jobs=2", f"output_dir={tmp_path / 'outputs'}"]
    printed = warm([*run, "-m", *CIFAR, "recipe.steps=64000", "attention=none,se,cbam"]).stdout
    # 129 + 176 + 364 s on two GPUs
    source = "at rates measured on an NVIDIA H200, 2026-11-21"
    assert f"dry run: 3 jobs, 3 would run, about 6 min {source}\n" in printed
    printed = warm([*run, "-m", *CIFAR, "recipe.steps=64000", "attention=none,bam"]).stdout
    assert "dry run: 2 jobs, 2 would run\n" in printed
    printed = warm([*run, "table=cifar10_20_epochs", "dataset.root=."]).stdout
    assert f"{source}" in printed.split("\n")[0] or "not known yet" in printed
