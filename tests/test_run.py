"""A run from end to end: record, skip, resume, force, failure; one seed gives every row the same start and order."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import warm
from lightning.pytorch import Trainer
from omegaconf import OmegaConf
from PIL import Image

import attnlab
from attnlab.configuration.compose import check
from attnlab.configuration.identity import run_id
from attnlab.data.build import make_datamodule
from attnlab.errors import AttnlabError, ConfigError, DataError, TrainingError

RECORD_KEYS = {
    "id", "status", "config", "metrics", "best_epoch", "params", "macs", "images_per_second", "peak_memory", "seconds",
    "world_size", "device", "precision", "data_hash", "commit", "dirty", "versions",
}  # fmt: skip
METRICS = {"test/top1_error", "test/top5_error", "test/loss", "test/calibration_error", "val/top1_error"}


def command(*overrides, **environment):
    done = warm.warm([sys.executable, "-m", "attnlab.run", *overrides], env=os.environ | environment)
    return done.returncode, done.stdout, done.stderr


def folder_of(overrides):
    cfg = attnlab.config(overrides)
    return __import__("pathlib").Path(cfg.output_dir) / run_id(cfg)


def test_a_run_and_its_record(tiny, capsys):
    overrides = [*tiny, "attention=cbam"]
    record = attnlab.train(attnlab.config(overrides))
    folder = folder_of(overrides)
    assert {p.name for p in folder.iterdir()} == {
        "config.yaml",
        "log.csv",
        "best.ckpt",
        "last.ckpt",
        "predictions.npz",
        "result.json",
        "lock",
    }
    assert json.loads((folder / "result.json").read_text()) == record
    assert record.keys() >= RECORD_KEYS
    assert record["metrics"].keys() == METRICS
    assert record["status"] == "finished"
    assert record["id"] == folder.name
    assert 0 <= record["metrics"]["test/top5_error"] <= record["metrics"]["test/top1_error"] <= 100
    net = attnlab.build(attnlab.config(overrides))
    assert record["params"] == sum(p.numel() for p in net.parameters())
    assert record["macs"] > 10e6
    assert record["images_per_second"] > 0
    assert str(folder.parent) not in json.dumps(record)
    assert str(folder.parent) not in (folder / "config.yaml").read_text()
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert min(float(row["val/top1_error"]) for row in rows) == pytest.approx(
        record["metrics"]["val/top1_error"], rel=1e-4
    )
    # found recorded: not trained again, nothing rewritten
    stamp = (folder / "result.json").stat().st_mtime_ns
    assert attnlab.train(attnlab.config(overrides)) == record
    assert "found recorded" in capsys.readouterr().out
    assert (folder / "result.json").stat().st_mtime_ns == stamp
    # the trained network comes back and gives the recorded test error
    loaded = attnlab.load(record["id"][:6], output_dir=folder.parent)
    data = make_datamodule(check(attnlab.config(overrides)))
    data.setup()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=record["precision"] == "bf16-mixed"):
        wrong = sum(int((loaded(x).argmax(1) != y).sum()) for x, y in data.test_dataloader())
    assert 100 * wrong / len(data.test) == pytest.approx(record["metrics"]["test/top1_error"], abs=1.01)


def test_checkpoints_hold_tensors_only(tiny):
    attnlab.train(attnlab.config(tiny))
    for name in ("best.ckpt", "last.ckpt"):
        state = torch.load(folder_of(tiny) / name, weights_only=True)["state_dict"]
        assert all(key.startswith("net.") for key in state)


def test_no_validation_takes_the_last_epoch(tiny):
    record = attnlab.train(attnlab.config([*tiny, "recipe.validation.images=0"]))
    assert record["metrics"]["val/top1_error"] is None
    assert record["best_epoch"] == 1


def test_steps_win_over_epochs_and_a_part_of_an_epoch_is_validated(tiny):
    # 300 training images, batches of 50: 6 steps an epoch; 8 steps end within the second
    overrides = [*tiny, "recipe.steps=8"]
    record = attnlab.train(attnlab.config(overrides))
    assert torch.load(folder_of(overrides) / "last.ckpt", weights_only=True)["global_step"] == 8
    assert record["metrics"]["val/top1_error"] is not None
    short = [*tiny, "recipe.steps=3"]
    record = attnlab.train(attnlab.config(short))
    assert torch.load(folder_of(short) / "best.ckpt", weights_only=True)["global_step"] == 3
    assert record["metrics"]["val/top1_error"] is not None


def test_force_keeps_the_old_run(tiny, capsys):
    first = attnlab.train(attnlab.config(tiny))
    again = attnlab.train(attnlab.config([*tiny, "force=true"]))
    assert again["id"] == first["id"]
    output_dir = folder_of(tiny).parent
    aside = [p for p in output_dir.iterdir() if p.name.startswith(f"{first['id']}.")]
    assert len(aside) == 1
    assert json.loads((aside[0] / "result.json").read_text()) == first
    assert "is kept in" in capsys.readouterr().out
    assert len(attnlab.load_results(output_dir)) == 1


def kill_after_first_epoch(overrides):
    process = warm.start([sys.executable, "-m", "attnlab.run", *overrides])
    for line in process.stdout:
        if "epoch 1/" in line:
            break
    deadline = time.monotonic() + 30
    while not (folder_of(overrides) / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been_killed(tiny):
    overrides = [*tiny, "recipe.epochs=4", "machine.threads=1", "deterministic=true", "attention=cbam"]
    overrides += ["dataset.train_size=2000"]
    kill_after_first_epoch(overrides)
    folder = folder_of(overrides)
    assert (folder / "last.ckpt").exists()
    assert not (folder / "result.json").exists()
    code, out, _ = command(*overrides)
    assert code == 0
    assert "goes on from last.ckpt" in out
    resumed = json.loads((folder / "result.json").read_text())
    shutil.rmtree(folder)
    code, out, _ = command(*overrides)
    assert code == 0
    assert "goes on" not in out
    whole = json.loads((folder / "result.json").read_text())
    assert resumed["metrics"] == whole["metrics"]
    with (folder / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["0", "1", "2", "3"]


def test_a_sweep_runs_is_skipped_and_reports(tiny):
    sweep = ["-m", *tiny, "attention=se,ise", "seed=0,1"]
    code, out, err = command(*sweep)
    assert code == 0, err
    assert out.count("finished, test error") == 4
    code, out, _ = command(*sweep)
    assert code == 0
    assert out.count("found recorded") == 4
    assert "epoch" not in out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["attention=sse"], "attnlab: unknown choice attention=sse; did you mean se? allowed are se, sk, ese"),
        (["recipe=null"], "attnlab: unknown choice recipe=null; allowed are quick, he2016, hu2018"),
        (
            ["attention=se", "attention.reduction=64"],
            "attention.reduction=64; allowed is an integer from 1 to 16",
        ),
        (["recipe.batch_size=0"], "attnlab: wrong value recipe.batch_size=0; allowed is an integer from 1"),
        (["recipe.optimizer.lr=-1"], "recipe.optimizer"),
        (["machine.precision=8"], "attnlab: wrong value machine.precision=8; allowed is auto, 32-true"),
        (["machine.accelerator=tpu"], "attnlab: wrong value machine.accelerator=tpu; allowed is auto, cpu"),
        (["output_dir=FILE/outputs"], "cannot read or write"),
    ],
)
def test_bad_input_from_the_command_line(tiny, tmp_path, overrides, message):
    (tmp_path / "file").touch()
    given = [o.replace("FILE", str(tmp_path / "file")) for o in overrides]
    code, _, err = command(*tiny, *given)
    assert code == 1
    assert err.count("attnlab: ") == 1
    assert message in err
    assert "Traceback" not in err
    assert not list((tmp_path / "outputs").glob("*/result.json"))
    assert not [p for p in (tmp_path / "outputs").glob("*") if p.is_dir() and not p.name.startswith(".")]


def test_a_class_count_that_does_not_match(tmp_path):
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32)).save(tmp_path / "pets" / split / name / "0.png")
    given = ["dataset=folder", f"dataset.root={tmp_path / 'pets'}", f"output_dir={tmp_path / 'outputs'}"]
    for override, message in (
        ("head.classes=3", "attnlab: wrong value head.classes=3; allowed is 2"),
        ("dataset.classes=3", "dataset.classes=3"),
    ):
        code, _, err = command(*given, override, "recipe.validation.images=0")
        assert code == 1
        assert message in err
        assert "Traceback" not in err
        assert not list((tmp_path / "outputs").glob("*/*"))


def test_a_loss_that_is_not_finite_stops_at_once(tiny):
    overrides = [*tiny, "recipe.optimizer.lr=1.0e30", "machine.precision=32-true"]
    with pytest.raises(TrainingError, match=r"not finite at step \d+ \(epoch 0\); the last good checkpoint is kept"):
        attnlab.train(attnlab.config(overrides))
    folder = folder_of(overrides)
    assert not (folder / "result.json").exists()
    error = json.loads((folder / "error.json").read_text())
    assert error["status"] == "failed"
    assert "not finite" in error["error"]
    assert len(attnlab.load_results(folder.parent)) == 0


def test_the_last_good_checkpoint_survives_a_bad_epoch(tiny, monkeypatch):
    from attnlab.training.classifier import Classifier

    original = Classifier.training_step

    def poisoned(self, batch, batch_idx):
        images, labels = batch
        return original(self, (images * float("nan") if self.current_epoch == 1 else images, labels), batch_idx)

    monkeypatch.setattr(Classifier, "training_step", poisoned)
    with pytest.raises(TrainingError, match=r"at step 6 \(epoch 1\)"):
        attnlab.train(attnlab.config(tiny))
    state = torch.load(folder_of(tiny) / "last.ckpt", weights_only=True)
    assert state["epoch"] == 0
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values())


def test_weights_that_blow_up_in_the_last_step_leave_no_record(tiny):
    constant = [
        "recipe.schedule._target_=attnlab.schedules.constant",
        "~recipe.schedule.warmup",
        "~recipe.schedule.final",
    ]
    overrides = [*tiny, "recipe.steps=1", "recipe.optimizer.lr=1.0e30", *constant]
    for extra in ([], ["recipe.validation.images=0"]):
        with pytest.raises(TrainingError, match="not finite at step"):
            attnlab.train(attnlab.config([*overrides, *extra]))
    assert len(attnlab.load_results(folder_of(tiny).parent)) == 0


def test_force_that_trains_nothing_leaves_the_old_record_in_its_place(tiny, monkeypatch):
    from attnlab.training.classifier import Classifier

    def broken(self, batch, batch_idx):
        raise TrainingError("broken")

    first = attnlab.train(attnlab.config(tiny))
    monkeypatch.setattr(Classifier, "training_step", broken)
    with pytest.raises(TrainingError, match="broken"):
        attnlab.train(attnlab.config([*tiny, "force=true"]))
    folder = folder_of(tiny)
    assert json.loads((folder / "result.json").read_text()) == first
    assert {p.name for p in folder.parent.iterdir() if p.is_dir()} == {folder.name}


def test_what_was_trained_is_kept_when_the_test_fails(tiny, monkeypatch):
    from attnlab.training.classifier import Classifier

    def broken(self, batch, batch_idx):
        raise DataError("dataset.root: an image cannot be read")

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "test_step", broken)
        with pytest.raises(DataError):
            attnlab.train(attnlab.config(tiny))
    folder = folder_of(tiny)
    assert (folder / "last.ckpt").exists()
    assert json.loads((folder / "error.json").read_text())["status"] == "failed"
    assert attnlab.train(attnlab.config(tiny))["status"] == "finished"
    assert not (folder / "error.json").exists()


@pytest.mark.parametrize("blow", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_an_interrupted_run_says_so(tiny, blow):
    overrides = [*tiny, "dataset.train_size=2000", "recipe.epochs=30"]
    process = warm.start([sys.executable, "-m", "attnlab.run", *overrides])
    for line in process.stdout:
        if "epoch 1/" in line:
            break
    process.send_signal(blow)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "attnlab: interrupted; the same command goes on from here" in err
    assert "Traceback" not in err
    assert json.loads((folder_of(overrides) / "error.json").read_text())["status"] == "interrupted"


def test_a_best_checkpoint_says_its_own_score_wherever_it_is_moved(tiny, tmp_path):
    record = attnlab.train(attnlab.config(tiny))
    moved = shutil.move(folder_of(tiny).parent, tmp_path / "elsewhere")
    again = attnlab.train(attnlab.config([*tiny, f"output_dir={moved}", "recipe.epochs=2"]))
    assert again == record
    best = torch.load(moved / record["id"] / "best.ckpt", weights_only=True)
    assert round(best["val/top1_error"], 6) == record["metrics"]["val/top1_error"]
    assert best["epoch"] == record["best_epoch"]


def test_two_processes_share_a_run(tiny):
    overrides = [*tiny, "machine.devices=2", "machine.accelerator=cpu", "machine.threads=1"]
    code, out, err = command(*overrides)
    assert code == 0, err
    assert out.count("finished, test error") == 1
    (record,) = [json.loads(p.read_text()) for p in folder_of(overrides).parent.glob("*/result.json")]
    assert record["world_size"] == 2
    assert run_id(attnlab.config(tiny)) == record["id"]


def test_one_run_is_never_trained_twice_at_once(tiny):
    folder = folder_of(tiny)
    folder.mkdir(parents=True)
    hold = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); "
    hold += "print(1, flush=True); time.sleep(60)"
    owner = subprocess.Popen([sys.executable, "-c", hold, str(folder / "lock")], stdout=subprocess.PIPE)
    owner.stdout.readline()
    with pytest.raises(AttnlabError, match="is being trained by another process"):
        attnlab.train(attnlab.config(tiny))
    owner.kill()  # a lock whose owner is gone is free
    owner.wait()
    assert attnlab.train(attnlab.config(tiny))["status"] == "finished"


def test_one_seed_gives_every_row_the_same_images_in_the_same_order(tiny):
    seen = []
    for attention in ("none", "se"):
        data = make_datamodule(check(attnlab.config([*tiny, f"attention={attention}"])))
        data.setup()
        seen.append([(x, y) for x, y in data.train_dataloader()])
    for (xa, ya), (xb, yb) in zip(*seen, strict=True):
        assert torch.equal(xa, xb)
        assert torch.equal(ya, yb)


def test_a_plain_trainer_takes_our_modules(tmp_path):
    from attnlab.data.cluttered_digits import ClutteredDigits

    data = ClutteredDigits(classes=10, image_size=32, train_size=200, test_size=50, batch_size=50)
    net = attnlab.build(attnlab.config(["model=resnet8", "attention=se"]))
    classifier = attnlab.Classifier(net, classes=10)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(classifier, datamodule=data)
    assert trainer.global_step == 4
    assert 0 <= trainer.test(classifier, datamodule=data, verbose=False)[0]["test/top1_error"] <= 100


def test_channels_last_and_compile_change_no_key(tiny, monkeypatch):
    original = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **settings: original(self, backend="eager")
    )  # inductor takes a minute
    attnlab.train(attnlab.config([*tiny, "machine.channels_last=false", "machine.compile=true"]))
    keys = torch.load(folder_of(tiny) / "best.ckpt", weights_only=True)["state_dict"].keys()
    assert {f"net.{name}" for name in attnlab.build(attnlab.config(tiny)).state_dict()} == set(keys)
    assert OmegaConf.load(folder_of(tiny) / "config.yaml").machine.compile is True


def test_load_names_what_there_is(tiny):
    record = attnlab.train(attnlab.config(tiny))
    output_dir = folder_of(tiny).parent
    with pytest.raises(
        ConfigError,
        match=rf"run=zzz: no such finished run in output_dir=.*; there are\n  {record['id']}  none resnet8 ",
    ):
        attnlab.load("zzz", output_dir)
