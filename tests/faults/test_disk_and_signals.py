"""A full disk, a folder gone or read-only, SIGTERM, Ctrl-C twice: one line, no status 0, the same command goes on."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import pytest
from survival import SMALL, SOAK, curves, equal, finish, folder_of, half_written, start, weights

import attnlab
from attnlab.errors import TrainingError
from attnlab.records import atomic
from attnlab.records.checkpoint import read
from attnlab.records.run_folder import disk_error


def small_disk(place, size):
    """A file system of `size` bytes at `place`, where this machine lets us make one."""
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)], capture_output=True)
    return made.returncode == 0


def one_line(err):
    lines = [line for line in err.splitlines() if line.strip()]
    assert "Traceback" not in err
    assert len(lines) == 1, err
    return lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("size", [40_000, 800_000, 1_700_000] if SOAK else [800_000])  # before, at, after a checkpoint
def test_a_full_disk_is_told_and_the_same_command_goes_on(tmp_path, record_property, size):
    if not small_disk(tmp_path / "small", size):
        pytest.skip("no tmpfs can be mounted here")
    overrides = [*SMALL, "recipe.epochs=3", f"output_dir={tmp_path / 'small' / 'outputs'}"]
    try:
        code, out, err = finish(*overrides)
        folder = folder_of(overrides)
        if size > 1_000_000 and code == 0:
            pytest.skip("it was enough")
        assert code == 1
        assert "No space left on device" in one_line(err)
        assert not (folder / "result.json").exists()
        assert not half_written(tmp_path)
        for name in ("last.ckpt", "best.ckpt"):
            if (folder / name).exists():
                assert read(folder / name)
        subprocess.run(["mount", "-o", "remount,size=64m", str(tmp_path / "small")], check=True)
        code, out, err = finish(*overrides)
        assert code == 0, err
        assert "is kept as" not in out  # what was there was whole
        again = json.loads((folder / "result.json").read_text()), weights(folder)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path / "small")], check=False)
    plain = [*overrides[:-1], f"output_dir={tmp_path / 'plain'}"]
    record = attnlab.train(attnlab.config(plain))
    assert record["metrics"] == again[0]["metrics"]
    assert equal(weights(folder_of(plain)), again[1])
    record_property("figure", f"disk of {size / 1e6:.2f} MB full: told in one line, went on when there was space")


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_write_that_fails_leaves_the_file_before(tmp_path, monkeypatch, reason):
    path = tmp_path / "file"
    atomic.write_text(path, "before")

    def fail(descriptor):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(reason)) as told:
        atomic.write_text(path, "after")
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    message = disk_error(told.value)
    assert isinstance(message, TrainingError)
    assert str(message).startswith(f"{path}: {os.strerror(reason)}; ")


def test_a_disk_that_fills_while_it_trains_keeps_the_last_checkpoint(tiny, monkeypatch):
    overrides = [*tiny, "machine.threads=1", "deterministic=true"]
    folder, original, written = folder_of(overrides), atomic.sync_folder, []

    def full(where):
        original(where)
        written.append(where)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "last.ckpt")

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "sync_folder", full)
        with pytest.raises(TrainingError, match=r"^last\.ckpt: No space left on device; what was saved before stands"):
            attnlab.train(attnlab.config(overrides))
    assert (folder / "last.ckpt").exists()
    record = attnlab.train(attnlab.config(overrides))
    shutil.rmtree(folder)
    assert attnlab.train(attnlab.config(overrides))["metrics"] == record["metrics"]


@pytest.mark.slow
def test_folders_that_vanish_or_cannot_be_written(tmp_path, monkeypatch, record_property):
    """The cache's folder gone in the middle, and made read-only; the run's own folder gone in the middle."""
    from attnlab.training.classifier import Classifier

    cache, outputs = tmp_path / "cache", tmp_path / "outputs"
    monkeypatch.setenv("ATTNLAB_CACHE", str(cache))
    overrides = [*SMALL, f"output_dir={outputs}"]
    original = Classifier.on_train_epoch_start
    victims = [cache]

    def removing(self):
        if self.current_epoch == 1 and victims:
            shutil.rmtree(victims.pop())
        original(self)

    monkeypatch.setattr(Classifier, "on_train_epoch_start", removing)
    record = attnlab.train(attnlab.config(overrides))
    shutil.rmtree(outputs)
    cache.write_text("a file in its place")  # root writes into read-only folders as well
    assert attnlab.train(attnlab.config(overrides))["metrics"] == record["metrics"]
    shutil.rmtree(outputs)
    victims.append(folder_of(overrides))
    with pytest.raises(TrainingError, match="No such file or directory; what was saved before stands"):
        attnlab.train(attnlab.config(overrides))
    assert attnlab.train(attnlab.config(overrides))["metrics"] == record["metrics"]
    code, _, err = finish(*overrides[:-1], "output_dir=/proc/attnlab")
    assert code == 1
    assert one_line(err).startswith("attnlab: cannot read or write /proc/attnlab: ")
    record_property(
        "figure", "cache deleted and unwritable, run's folder deleted, unwritable output_dir: told, went on"
    )


def stop(process, blows):
    """Send each signal to the whole group, as a terminal does, a moment apart."""
    for blow in blows:
        with suppress(ProcessLookupError):  # it may have ended at the first
            os.killpg(process.pid, blow)
        time.sleep(0.3)


BLOWS = {
    "SIGTERM": [signal.SIGTERM],
    "SIGTERM twice": [signal.SIGTERM, signal.SIGTERM],
    "Ctrl-C": [signal.SIGINT],
    "Ctrl-C twice": [signal.SIGINT, signal.SIGINT],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("blow", "many"),
    [(blow, many) for blow in BLOWS for many in (False, True)] if SOAK else [("Ctrl-C twice", True)],
)
def test_who_is_asked_to_stop_says_so_and_goes_on(tmp_path, record_property, blow, many):
    overrides = [*SMALL, "recipe.epochs=4", "machine.checkpoint_minutes=0", f"output_dir={tmp_path / 'outputs'}"]
    command = [*overrides, *(["-m", "seed=0,1"] if many else [])]
    draw, first = random.Random(blow), folder_of(overrides)
    for _ in range(3 if SOAK else 1):
        process = start(*command)
        for line in process.stdout:
            if " starts, " in line or "goes on from" in line or "found recorded" in line:
                break
        time.sleep(draw.uniform(0, 1.5))
        begun = time.monotonic()
        stop(process, BLOWS[blow])
        _, err = process.communicate(timeout=60)
        assert time.monotonic() - begun < 60
        assert "Traceback" not in err, err
        if process.returncode == 0 or (not many and (first / "result.json").exists()):  # it had ended before
            continue
        assert process.returncode in (1, 130, -signal.SIGTERM, -signal.SIGINT), (process.returncode, err)
        assert "goes on" in err or "the same command runs them" in err
        assert not half_written(tmp_path)
    code, _, err = finish(*command)
    assert code == 0, err
    resumed = json.loads((first / "result.json").read_text())["metrics"], weights(first), curves(first)
    shutil.rmtree(first)
    record = attnlab.train(attnlab.config(overrides))
    assert record["metrics"] == resumed[0]
    assert equal(weights(first), resumed[1])
    assert curves(first) == resumed[2]
    record_property("figure", f"{blow}, {'a sweep' if many else 'a run'}: one message, goes on bit for bit")
