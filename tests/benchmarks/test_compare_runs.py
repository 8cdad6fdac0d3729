"""Repeated runs: paired by id, labelled by where they ran, and compared with the uncertainty of few seeds."""

import json
from pathlib import Path

import pytest

import attnlab
from attnlab.benchmarks.commands import same_runs
from attnlab.benchmarks.compare_runs import markdown, same
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError
from attnlab.records.record import seal, write_json


def record(folder, attention, seed, error, precision):
    cfg = attnlab.configuration.compose.plain(attnlab.config([f"attention={attention}", f"seed={seed}"]))
    made = seal(
        {
            "id": run_id(cfg), "status": "finished", "config": cfg, "metrics": {"test/top1_error": error}, "params": 1,
            "data_hash": "0", "device": "a CPU", "precision": precision, "world_size": 1, "batch_statistics": "batch",
            "commit": "0" * 40, "dirty": False, "seconds": 1.0, "versions": {"torch": "2.13.0"},
        }
    )  # fmt: skip
    (folder / made["id"]).mkdir(parents=True)
    write_json(folder / made["id"] / "result.json", made)


@pytest.fixture
def twice(tmp_path):
    for seed, (one, other) in enumerate([(10.0, 10.4), (12.0, 11.8), (11.0, 11.1), (13.0, 12.9)]):
        record(tmp_path / "float32", "none", seed, one, "32-true")
        record(tmp_path / "bf16", "none", seed, other, "bf16-mixed")
    record(tmp_path / "float32", "se", 0, 9.0, "32-true")
    record(tmp_path / "bf16", "se", 1, 9.0, "bf16-mixed")  # of no pair
    return tmp_path / "float32", tmp_path / "bf16"


def test_pairs_share_their_id(twice):
    (only,) = same(*twice)["cells"]
    assert only["seeds"] == (0, 1, 2, 3)
    assert (only["one"], only["other"]) == ((10.0, 12.0, 11.0, 13.0), (10.4, 11.8, 11.1, 12.9))


def test_the_table_says_what_differs_and_what_could_have_been_seen(twice):
    head, _, row, *_, alike = markdown(same(*twice)).strip().splitlines()
    assert head == "| | n | 32-true: error % | bf16-mixed: error % | difference [95 %] | p | detectable |"
    name, n, one, other, difference, p, detectable = (cell.strip() for cell in row.strip("| ").split("|"))
    assert name.startswith("cluttered_digits, resnet20, none, quick")
    assert (n, one, other) == ("4", "11.50", "11.55")
    # by hand: mean -0.05, sd 0.2646, t(3, 97.5 %) = 3.182
    assert difference == "-0.05 [-0.47, +0.37]"
    assert p == "0.73"
    assert 0.5 < float(detectable) < 0.8
    assert alike == f"device a CPU; world_size 1; batch_statistics batch; commit {'0' * 40}; torch 2.13.0"


def test_the_json_gives_the_table_again(twice, tmp_path, capsys):
    same_runs([*map(str, twice), f"json={tmp_path / 'same.json'}"])
    printed = capsys.readouterr().out
    assert markdown(json.loads((tmp_path / "same.json").read_text())) in printed


@pytest.mark.parametrize("runs", ["runs", "cifar10"])
def test_the_shipped_table_is_that_of_the_shipped_runs(runs):
    kept = Path(__file__).parent.parent.parent / "results" / "precision"
    assert markdown(json.loads((kept / f"{runs}.json").read_text())) in (kept / "README.md").read_text()


def test_nothing_in_common(tmp_path):
    with pytest.raises(ConfigError, match="same: no finished run is in both folders"):
        same(tmp_path, tmp_path)
    with pytest.raises(ConfigError, match="same: 1 folders are named; allowed are two"):
        same_runs(["one"])
