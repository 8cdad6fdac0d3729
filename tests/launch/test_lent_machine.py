"""results/lent_machine.py: a sweep over several short loans ends with the records of one without an end."""

import importlib.util
import json
import tarfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "results" / "lent_machine.py"
SWEEP = [
    "-m", "seed=0,1", "n_jobs=1", "deterministic=true", "machine.threads=1", "machine.accelerator=cpu", "tracker=csv",
    "model=resnet8", "dataset.train_size=1000", "dataset.test_size=100", "recipe.validation.images=100",
    "recipe.epochs=12", "recipe.batch_size=50",
]  # fmt: skip


@pytest.fixture
def lent(monkeypatch):
    spec = importlib.util.spec_from_file_location("lent_machine", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def metrics(folder):
    return {path.parent.name: json.loads(path.read_text())["metrics"] for path in folder.glob("*/result.json")}


@pytest.mark.slow
def test_several_loans_end_with_the_records_of_one(lent, tmp_path, monkeypatch):
    monkeypatch.setattr(lent, "STOP", 10)
    once = tmp_path / "once"
    assert lent.main(["seconds=400", f"archives={tmp_path / 'of_once'}", *SWEEP, f"output_dir={once}"]) == 0
    assert len(metrics(once)) == 2
    folder, loans, archives = tmp_path, 0, tmp_path / "archives"
    while len(metrics(folder)) < 2:
        assert loans < 6
        folder = tmp_path / f"machine{loans}"  # a bare one each time
        seconds = f"seconds={22 + 20 * loans}"
        assert lent.main([seconds, f"archives={archives}", *SWEEP, f"output_dir={folder}"]) == 0
        loans += 1
    assert loans > 1
    assert metrics(folder) == metrics(once)
    assert sum(name.endswith("/result.json") for name in names_in(archives / "records.tar")) == 2


def names_in(path):
    with tarfile.open(path) as archive:
        return set(archive.getnames())


def made(folder, run, **sizes):
    for name, size in {"config.yaml": 10, "log.csv": 10, **sizes}.items():
        path = folder / run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))


def test_unfinished_runs_are_packed_first_and_what_finds_no_place_is_named(lent, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lent, "FILES", 3)
    monkeypatch.setattr(lent, "MEBIBYTES", 1)
    outputs, archives = tmp_path / "outputs", tmp_path / "archives"
    made(outputs, "a1", **{"result.json": 100, "best.ckpt": 400_000})
    made(outputs, "b2", **{"best.ckpt": 300_000, "last.ckpt": 500_000})
    made(outputs, "c3", **{"best.ckpt": 300_000, "last.ckpt": 500_000})
    made(outputs, "d4", **{"last.ckpt": 2_000_000})
    made(outputs, "e5")  # it has begun, and has no checkpoint
    lent.pack(outputs, archives)
    assert {path.name: names_in(path) for path in archives.iterdir()} == {
        "records.tar": {"a1/result.json", "a1/config.yaml", "a1/log.csv"},
        "runs_1.tar": {f"b2/{name}" for name in ("config.yaml", "log.csv", "best.ckpt", "last.ckpt")},
        "runs_2.tar": {f"c3/{name}" for name in ("config.yaml", "log.csv", "best.ckpt", "last.ckpt")},
    }
    assert all(path.stat().st_size <= 1 << 20 for path in archives.iterdir())
    printed = capsys.readouterr().out
    assert "no place for d4 (1.9 MiB)" in printed
    assert "no place for a1 (0.4 MiB)" in printed
    there = tmp_path / "there"
    made(there, "a1", **{"result.json": 7})
    lent.unpack(archives, there)
    assert (there / "a1" / "result.json").stat().st_size == 7  # a finished run stays as it is
    assert (there / "b2" / "last.ckpt").stat().st_size == 500_000


def test_wrong_arguments_are_one_line(lent, capsys, tmp_path):
    for arguments in ("", "seconds=soon archives=x -m", "seconds=500 archives=x", "seconds=5 archives=x -m"):
        assert lent.main(arguments.split()) == 2
        assert capsys.readouterr().err == "needs seconds=N, more than 30, archives=DIR, and arguments of attnlab.run\n"
