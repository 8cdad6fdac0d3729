"""The values of a command's own keys, as attnlab.look and attnlab.judge read them, and how many runs go at a time."""

from pathlib import Path

import pytest
import synthetic

from attnlab.errors import ConfigError
from attnlab.evaluation.chosen_runs import ChosenRuns, choose_runs, share_machine
from attnlab.machine import cpu, gpus


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("image=my pics/im 0.png", "my pics/im 0.png"),
        ("image=my pics/im 0.png,my pics/im 1.png", ["my pics/im 0.png", "my pics/im 1.png"]),
        ("image='a, b.png','c d.png'", ["a, b.png", "c d.png"]),
        ("image=[my pics/im 0.png,b.png]", ["my pics/im 0.png", "b.png"]),
    ],
)
def test_file_names_may_have_spaces(tmp_path, typed, value):
    run = synthetic.record(["model=resnet8"])
    synthetic.write(tmp_path, run)
    assert choose_runs([f"run={run['id']}", typed, f"output_dir={tmp_path}"], ["image"]).own == {"image": value}


@pytest.mark.parametrize(
    ("runs", "machine", "own", "expected"),
    [
        (15, {}, {}, (4, 1)),
        (4, {}, {}, (4, 1)),
        (3, {}, {}, (1, None)),  # fewer than cores: one after another, each on all cores
        (15, {"threads": 2}, {}, (2, 2)),
        (2, {"threads": 2}, {}, (2, 2)),
        (15, {}, {"n_jobs": 3}, (3, 1)),
        (15, {}, {"n_jobs": None}, (4, 1)),
        (2, {}, {"n_jobs": 8}, (2, 1)),
        (1, {}, {"n_jobs": 8}, (1, None)),
        (15, {"accelerator": "gpu"}, {}, (1, None)),
        (15, {"gpus": 1}, {}, (1, None)),
        (15, {"gpus": 2, "devices": [1]}, {}, (1, None)),
        (15, {"gpus": 1, "devices": "auto"}, {}, (1, None)),
        (15, {"gpus": 1, "accelerator": "cpu"}, {}, (4, 1)),
    ],
)
def test_runs_share_the_cores(monkeypatch, runs, machine, own, expected):
    monkeypatch.setattr(cpu, "cores", lambda: 4)
    monkeypatch.setattr(cpu, "available_memory", lambda: None)
    there = machine.get("gpus", 0)
    monkeypatch.setattr(gpus, "ids", lambda: [str(n) for n in range(there)])
    given = {"accelerator": "auto", "devices": 1, "threads": None} | machine
    processes, of_each = share_machine(ChosenRuns(Path(), given, (), own, ()), runs)
    assert (processes, of_each["threads"]) == expected
    assert of_each == given | {"threads": expected[1]}


def test_n_jobs_is_a_count():
    chosen = ChosenRuns(Path(), {"threads": None}, (), {"n_jobs": 0}, ())
    with pytest.raises(ConfigError, match=r"^wrong value n_jobs=0; allowed is an integer from 1$"):
        share_machine(chosen, 3)
