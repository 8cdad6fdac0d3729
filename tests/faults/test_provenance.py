"""A record says truthfully which code, weights and machine made it; nothing that a start did not write is deleted."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import attnlab
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError, DataError
from attnlab.records import checkpoint
from attnlab.records.conflicts import conflict
from attnlab.records.provenance import append_stretch, changed_settings
from attnlab.tables.record_groups import tabulate
from attnlab.tables.table_page import table_page
from attnlab.training import checkpoint_io
from attnlab.training.checkpointing import Best


@pytest.fixture
def small(tiny):
    return [*tiny[:-1], "recipe.epochs=3", "machine.threads=1", "deterministic=true", tiny[-1]]


def folder_of(overrides):
    cfg = attnlab.config(overrides)
    return Path(cfg.output_dir) / run_id(cfg)


def train(*overrides):
    return attnlab.train(attnlab.config(list(overrides)))


class Killed(BaseException):
    pass


def killed(monkeypatch, kind, number, overrides):
    """Train until the number-th last.ckpt was written, or the number-th best.ckpt is to be written, and no further."""
    original, count = checkpoint_io.save, [0]

    def save(content, path):
        mine = path.name == f"{kind}.ckpt"
        count[0] += mine
        if mine and kind == "best" and count[0] == number:
            raise Killed
        original(content, path)
        if mine and count[0] == number:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_io, "save", save)
        with pytest.raises(Killed):
            train(*overrides)


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_a_run_went_on_under_is_recorded(small, monkeypatch):
    killed(monkeypatch, "last", 1, [*small, "machine.precision=32-true"])
    record = train(*small, "machine.precision=bf16-mixed")
    assert [one["precision"] for one in record["stretches"]] == ["32-true", "bf16-mixed"]
    assert changed_settings(record["stretches"]) == ["precision"]
    text = " ".join(table_page(tabulate([record])[0]).warnings)
    assert "1 of 1 run resumed after an interruption under another precision." in text
    shutil.rmtree(folder_of(small))
    killed(monkeypatch, "last", 1, small)
    assert train(*small)["stretches"] is None  # the same again is one stretch


def test_like_stretches_are_one():
    a, b = {"device": "a", "threads": 1}, {"device": "a", "threads": 2}
    assert append_stretch([], a) == [a]
    assert append_stretch([a], a) == [a]
    assert append_stretch([a], b) == [a, b]
    assert append_stretch([a, b], a) == [a, b, a]


def test_a_parent_that_was_trained_anew_leaves_its_child_in_doubt(small):
    parent = train(*small, "machine.precision=32-true")
    child = [*small, "attention=se", f"start_from='{parent['id']}'"]
    record = train(*child)
    assert record["started_from"] == {"id": parent["id"], "weights": parent["weights"]}
    assert train(*child) == record
    again = train(*small, "machine.precision=32-true", "force=true")
    assert again["weights"] == parent["weights"]  # equal weights: no doubt
    assert train(*child) == record
    other = train(*small, "machine.precision=64-true", "force=true")
    assert other["weights"] != parent["weights"]
    with pytest.raises(ConfigError, match=rf"start_from={parent['id']} has other weights now; force=true trains anew"):
        train(*child)
    assert train(*child, "code=recorded") == record


def test_the_checkpoint_of_another_run_is_refused(small, tmp_path):
    one, other = train(*small), train(*small, "seed=1")
    folder = folder_of(small)
    shutil.copy(folder_of([*small, "seed=1"]) / "best.ckpt", folder / "best.ckpt")
    with pytest.raises(ConfigError, match=r"its best\.ckpt is not the one that the record is of"):
        attnlab.load(one["id"], folder.parent)
    assert attnlab.load(other["id"], folder.parent) is not None
    (folder / "result.json").unlink()
    with pytest.raises(ConfigError, match=rf"best\.ckpt: is a checkpoint of run {other['id']}"):
        train(*small)
    shutil.copy(folder_of([*small, "seed=1"]) / "last.ckpt", folder / "last.ckpt")
    with pytest.raises(ConfigError, match=rf"last\.ckpt: is a checkpoint of run {other['id']}"):
        train(*small)


def of_test(record):
    return record["metrics"], record["best_epoch"], record["weights"]


@pytest.mark.parametrize("number", [1, 2])
def test_a_kill_between_last_and_best_costs_nothing(small, monkeypatch, number):
    expected = of_test(train(*small))
    shutil.rmtree(folder_of(small))
    try:
        killed(monkeypatch, "best", number, small)
    except pytest.fail.Exception:
        pytest.skip(f"the validation error has improved less than {number} times")
    assert train(*small)["metrics"] == expected[0]


def test_a_kill_between_last_and_best_of_the_last_epoch_costs_nothing(small, monkeypatch):
    """The run goes on with nothing left to train: the weights of last.ckpt are tested all the same."""
    monkeypatch.setattr(Best, "is_better", lambda self, score: True)
    expected = of_test(train(*small))
    assert expected[1] == 2  # of the epochs 0, 1, 2
    shutil.rmtree(folder_of(small))
    killed(monkeypatch, "best", 3, small)
    assert of_test(train(*small))[:2] == expected[:2]


def test_an_older_last_ckpt_never_tests_the_weights_of_a_lost_epoch(small, monkeypatch):
    """A best.ckpt of a later epoch, with weights of its own, beside the last.ckpt of an earlier one."""
    expected, folder = of_test(train(*small)), folder_of(small)
    shutil.rmtree(folder)
    killed(monkeypatch, "last", 1, small)
    older = (folder / "last.ckpt").read_bytes()
    train(*small)
    (folder / "result.json").unlink()
    (folder / "last.ckpt").write_bytes(older)
    lost = torch.load(folder / "best.ckpt", weights_only=True)
    lost["state_dict"] = {name: torch.zeros_like(tensor) for name, tensor in lost["state_dict"].items()}
    lost["epoch"], lost["val/top1_error"] = 2, 0.0  # better than anything: it would be tested
    torch.save(lost, folder / "best.ckpt")
    assert of_test(train(*small))[:2] == expected[:2]


def test_a_record_names_what_shared_the_machine(small):
    record = train(*small)
    assert (record["threads"], record["n_jobs"], record["runs_per_gpu"]) == (1, 1, 1)
    assert record["weights"] == checkpoint.fingerprint(folder_of(small) / "best.ckpt")


MISTAKES = {
    "devices": ["machine.devices=99"],
    "folder": ["machine.accelerator=gpu"],
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("lost", ["last.ckpt", "nothing but notes"])
def test_a_mistake_at_the_start_deletes_nothing(small, mistake, lost, monkeypatch):
    killed(monkeypatch, "last", 2, small)
    folder = folder_of(small)
    (folder / "notes.txt").write_text("mine")
    (folder / "evaluations").mkdir()
    (folder / "evaluations" / "a.json").write_text("{}")
    (folder / "last.ckpt").unlink()
    if lost != "last.ckpt":
        (folder / "best.ckpt").unlink()
    before = everything(folder)
    with pytest.raises((ConfigError, DataError)):
        train(*small, *MISTAKES[mistake])
    assert everything(folder) == before


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
def test_what_is_damaged_is_put_aside_as_it_is_with_all_that_belongs_to_it(small, name, monkeypatch):
    killed(monkeypatch, "last", 2, small)
    folder = folder_of(small)
    (folder / "notes.txt").write_text("mine")
    (folder / name).write_bytes((folder / name).read_bytes()[:1000])
    before = everything(folder)
    record = train(*small)
    (aside,) = [path for path in folder.parent.iterdir() if path.name.startswith(f"{folder.name}.")]
    assert {path: text for path, text in everything(aside).items() if path.name != "lock"} == {
        path: text for path, text in before.items() if path.name != "lock"
    }
    assert record["stretches"] is None
    assert json.loads((folder / "result.json").read_text())["status"] == "finished"


def of_an_older_attnlab(folder):
    """last.ckpt as it was before checkpoints named their run, their best, their code and their stretches."""
    content = torch.load(folder / "last.ckpt", weights_only=True)
    del content["run"], content["callbacks"]["Best"]
    for name in ("code", "edited", "stretches", "started_from"):
        del content["callbacks"]["Last"][name]
    torch.save(content, folder / "last.ckpt")


def test_a_run_of_an_older_attnlab_goes_on_as_often_as_it_must(small, monkeypatch):
    expected, folder = of_test(train(*small)), folder_of(small)
    shutil.rmtree(folder)
    killed(monkeypatch, "last", 1, small)
    of_an_older_attnlab(folder)
    killed(monkeypatch, "last", 1, small)
    record = train(*small)
    assert of_test(record)[:2] == expected[:2]
    assert not list(folder.parent.glob(f"{folder.name}.*"))  # it never began anew
    assert record["stretches"][0] == {}  # under what the first stretch ran is not known


def test_records_that_agree_to_the_digits_of_a_table_are_no_conflict():
    one = (Path("a/x/result.json"), {"metrics": {"test/top1_error": 10.0, "test/loss": 13.456381}})
    other = (Path("b/x/result.json"), {"metrics": {"test/top1_error": 10.0, "test/loss": 13.456382}})
    third = (Path("b/x/result.json"), {"metrics": {"test/top1_error": 10.1, "test/loss": 13.456382}})
    assert conflict("x", [one, other]) == ""
    assert "test/top1_error 10.1" in conflict("x", [one, third])
