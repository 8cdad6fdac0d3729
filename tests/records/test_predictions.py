"""predictions.npz: what a run writes, in which order, and what is refused."""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from conftest import TINY
from synthetic import record, write
from torch import nn
from torch.utils.data import DataLoader
from warm import warm

import attnlab
from attnlab.configuration.compose import check
from attnlab.data.build import make_datamodule
from attnlab.data.imagenet import FilePictures, ImageNet
from attnlab.errors import ConfigError
from attnlab.records.predictions import FILE, Predictions, of_records
from attnlab.records.record import fault, read_record, seal, write_json
from attnlab.tables.over_images import calibration_error
from attnlab.training.classifier import Classifier
from attnlab.training.keep_predictions import keep_predictions


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(folder, record) of a run of 1,100 test images: three batches."""
    output_dir = tmp_path_factory.mktemp("predictions") / "outputs"
    cfg = attnlab.config([*TINY, "dataset.test_size=1100", "machine.precision=32-true", f"output_dir={output_dir}"])
    made = attnlab.train(cfg)
    return output_dir / made["id"], made


@pytest.fixture
def copy(run, tmp_path):
    return Path(shutil.copytree(run[0], tmp_path / "outputs" / run[0].name))


def test_the_error_of_the_predictions_is_the_records(run):
    folder, made = run
    found = attnlab.load_predictions(made["id"][:6], folder.parent)
    assert len(found) == 1100
    assert found.error == made["metrics"]["test/top1_error"]
    assert 0 < found.error < 100
    assert calibration_error(found) == pytest.approx(made["metrics"]["test/calibration_error"], abs=1e-5)


def test_they_are_of_the_test_images_in_their_order(run):
    folder, made = run
    found = attnlab.load_predictions(made["id"], folder.parent)
    data = make_datamodule(check(attnlab.config([*TINY, "dataset.test_size=1100"])))
    data.setup()
    assert np.array_equal(found.label, data.test.labels)
    net = attnlab.load(made["id"], folder.parent)
    with torch.no_grad():
        probabilities = net(data.preprocess(data.test.images, None)).softmax(dim=1)
    assert found.confidence == pytest.approx(probabilities.amax(dim=1).numpy(), abs=1e-3)
    clear = probabilities.topk(2).values.diff(dim=1).abs()[:, 0].numpy() > 1e-3  # ties within rounding
    assert clear.sum() > 1000
    assert np.array_equal(found.predicted[clear], probabilities.argmax(dim=1).numpy()[clear])
    frame = found.frame()
    assert list(frame) == ["label", "predicted", "confidence", "correct"]
    assert 100 * (1 - frame["correct"].mean()) == pytest.approx(found.error)


def test_the_file_is_small_holds_no_pickle_and_is_bound_to_the_record(run):
    folder, made = run
    assert hashlib.sha256((folder / FILE).read_bytes()).hexdigest() == made["predictions"]
    assert not fault(made, made["id"])
    assert fault(made | {"predictions": "0" * 64}, made["id"])  # the seal covers it
    assert (folder / FILE).stat().st_size < 5 * 1100
    with np.load(folder / FILE, allow_pickle=False) as file:
        assert {name: file[name].dtype.str for name in file} == {
            "label": "|u1", "predicted": "|u1", "confidence": "<u2",
        }  # fmt: skip


def test_an_edited_file_is_refused_with_one_message(copy):
    path = copy / FILE
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ConfigError, match=rf"^run={copy.name}: its predictions.npz is not the one .*checksum differs"):
        attnlab.load_predictions(copy.name, copy.parent)
    found, left_out = of_records([read_record(copy)], copy.parent)
    assert not found
    assert len(left_out) == 1
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        attnlab.load_predictions(copy.name, copy.parent)
    assert of_records([read_record(copy)], copy.parent) == ({}, [])


def test_somebodys_file_is_never_unpickled(copy):
    """A record and its file from elsewhere may agree with each other and still hold what runs code."""
    for content in ("pickle", "text", "short", "float"):
        arrays = {"label": np.zeros(3, np.uint8), "predicted": np.zeros(3, np.uint8), "confidence": np.zeros(3, "u2")}
        if content == "pickle":
            arrays["label"] = np.array([print, 1, 2], dtype=object)
        arrays |= {"short": {"label": np.zeros(2, np.uint8)}, "float": {"confidence": np.zeros(3)}}.get(content, {})
        np.savez(copy / FILE, **arrays)
        if content == "text":
            (copy / FILE).write_text("label,predicted")
        own = read_record(copy) | {"predictions": hashlib.sha256((copy / FILE).read_bytes()).hexdigest()}
        write_json(copy / "result.json", seal(own))
        with pytest.raises(ConfigError, match="holds no predictions"):
            attnlab.load_predictions(copy.name, copy.parent)


def test_a_record_without_predictions_stays_a_record(tmp_path):
    old = record(["seed=5"])
    write(tmp_path, old)
    assert not fault(old, old["id"])
    with pytest.raises(ConfigError, match="was recorded without predictions"):
        attnlab.load_predictions(old["id"], tmp_path)
    assert of_records([old], tmp_path) == ({}, [])


def test_tracked_predictions_are_found_beside_tracked_records(run, tmp_path):
    folder, made = run
    (tmp_path / "mine" / "predictions").mkdir(parents=True)
    shutil.copy(folder / FILE, tmp_path / "mine" / "predictions" / f"{made['id']}.npz")
    found, left_out = of_records([made], tmp_path / "nothing", tmp_path)
    assert found[made["id"]].error == made["metrics"]["test/top1_error"]
    assert not left_out


def test_force_puts_them_aside_and_a_trial_writes_none(copy):
    overrides = [*TINY, "dataset.test_size=1100", f"output_dir={copy.parent}"]
    before = (copy / FILE).read_bytes()
    trial = attnlab.train(attnlab.config([*overrides, "machine=debug", "force=true"]))
    assert "predictions" not in trial
    assert (copy / FILE).read_bytes() == before
    (copy / FILE).write_bytes(b"")
    again = attnlab.train(attnlab.config([*overrides, "force=true"]))
    aside = next(path for path in copy.parent.iterdir() if path.name.startswith(f"{copy.name}."))
    assert (aside / FILE).read_bytes() == b""
    assert hashlib.sha256((copy / FILE).read_bytes()).hexdigest() == again["predictions"]


def test_an_interrupted_test_is_run_again_and_the_record_has_the_file_that_is_there(copy):
    """The machine went down between the two files: the run goes on from last.ckpt, and they agree."""
    (copy / "result.json").unlink()
    (copy / FILE).write_bytes(b"of another attempt")
    again = attnlab.train(attnlab.config([*TINY, "dataset.test_size=1100", f"output_dir={copy.parent}"]))
    assert attnlab.load_predictions(again["id"], copy.parent).error == again["metrics"]["test/top1_error"]


def test_two_processes_write_one_file_each_image_once_in_order(tmp_path):
    # odd numbers of images and batches, which two ranks cannot share evenly
    overrides = [
        *TINY,
        "dataset.test_size=1101",
        f"output_dir={tmp_path}",
        "machine.threads=1",
        "machine.precision=32-true",
    ]
    ddp = [*overrides, "machine.devices=2", "machine.accelerator=cpu"]
    done = warm([sys.executable, "-m", "attnlab.run", *ddp], env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    (shared,) = [json.loads(path.read_text()) for path in tmp_path.glob("*/result.json")]
    assert shared["world_size"] == 2
    found = attnlab.load_predictions(shared["id"], tmp_path)
    assert found.error == shared["metrics"]["test/top1_error"]
    data = make_datamodule(check(attnlab.config(overrides)))
    data.setup()
    assert np.array_equal(found.label, data.test.labels)
    net = attnlab.load(shared["id"], tmp_path)
    with torch.no_grad():
        probabilities = net(data.preprocess(data.test.images, None)).softmax(dim=1)
    assert found.confidence == pytest.approx(probabilities.amax(dim=1).numpy(), abs=1e-3)


class _Stand(pl.LightningModule):
    """A classifier of which only the end of a test is wanted; each image's confidence says its number."""

    def __init__(self, numbers, count):
        super().__init__()
        self.tested = [(n % 10, (n + 0.5).double() / count, n % 10) for n in numbers]


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 7, 31])
@pytest.mark.parametrize("kind", ["memory", "files"])
def test_every_rank_says_which_images_it_has(kind, count, world, monkeypatch):
    """test_order is the order of the batches themselves: of every kind of data, together each image once."""
    orders = []
    for rank in range(world):
        data = _data(kind, count, rank, world)
        order = data.test_order()
        assert torch.equal(order, _order_of_batches(kind, data))
        orders.append(order)
    assert torch.equal(torch.cat(orders).sort().values, torch.arange(count))


def _data(kind, count, rank, world):
    common = {"classes": 10, "image_size": 32, "batch_size": 6}
    if kind == "memory":
        from attnlab.data.memory import Images, MemoryData

        data = MemoryData(**common)
        data.test = Images(torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, 2, 2), torch.zeros(count).long())
        data.preprocess = lambda images, draws: images
    else:
        settings = {"root": "", "mean": [0.5] * 3, "sd": [0.5] * 3}
        data = ImageNet(**common, **settings)
        data.test = FilePictures([(Path(str(n)), 0) for n in range(count)])
    data.trainer = type("Trainer", (), {"global_rank": rank, "world_size": world, "current_epoch": 0})()
    return data


def _order_of_batches(kind, data):
    if kind == "memory":
        return torch.cat([images[:, 0, 0, 0] for images, _ in data.test_dataloader()])
    from attnlab.data.pictures import _Order

    return torch.tensor([n for batch in _Order(data, len(data.test), False) for n, _ in batch], dtype=torch.int64)


def _kept(tmp_path, numbers, count, data):
    stand = _Stand(numbers, count)
    stand.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)
    return keep_predictions(stand, data, tmp_path)


def test_what_is_not_known_to_be_the_test_set_is_not_kept(tmp_path, capsys):
    """A data module of one's own that gives other images than it says: the record says nothing of them."""
    data = _data("memory", 31, 0, 1)
    assert _kept(tmp_path, [torch.arange(31)], 31, data)
    assert _kept(tmp_path, [torch.arange(30)], 31, data) == {}
    assert "predictions are not kept" in capsys.readouterr().out
    assert _kept(tmp_path, [torch.arange(5)], 5, object())  # one process, and it comes as it comes


def test_class_names_and_many_classes(tmp_path):
    data = _data("memory", 4, 0, 1)
    data.names = [f"class {n}" for n in range(300)]
    stand = _Stand([], 1)
    stand.tested = [
        (torch.tensor([299, 0, 5, 5]), torch.tensor([1.0, 0.2, 1 - 2**-24, 0.5]), torch.tensor([299, 1, 5, 6]))
    ]
    stand.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=True)
    made = record(["seed=1"], **keep_predictions(stand, data, tmp_path))
    write(tmp_path, made)
    shutil.move(tmp_path / FILE, tmp_path / made["id"] / FILE)
    found = attnlab.load_predictions(made["id"], tmp_path)
    assert found.predicted.tolist() == [299, 0, 5, 5]
    assert found.name(299) == "class 299"
    assert found.error == 50.0
    assert found.confidence == pytest.approx([1.0, 0.2, 1.0, 0.5], abs=1 / 131070)
    assert found.confidence[0] == 1.0 > found.confidence[2]  # a bin of its own, in torchmetrics


def test_rounding_moves_no_image_to_another_bin(draw):
    """65,535 steps are 15 bins of 4,369 steps: the calibration error is that of the unrounded confidences to 1e-5."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits = 3 * torch.randn(4000, 10, generator=draw(1))
    probabilities = logits.softmax(dim=1)
    labels = torch.randint(10, (4000,), generator=draw(2))
    steps = np.floor(probabilities.amax(dim=1).double().numpy() * 65535)
    rounded = np.where(steps < 65535, (steps + 0.5) / 65535, 1.0)
    run = Predictions("a", labels.numpy(), probabilities.argmax(dim=1).numpy(), rounded, "0")
    exact = float(multiclass_calibration_error(probabilities, labels, 10, n_bins=15, norm="l1"))
    assert calibration_error(run) == pytest.approx(exact, abs=1e-5)
    bins = [np.floor(15 * values) for values in (rounded, probabilities.amax(dim=1).double().numpy())]
    assert np.array_equal(*bins)


def test_the_test_loop_keeps_one_row_an_image_and_starts_afresh():
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(12, 10)), classes=10)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    batches = [(torch.randn(5, 3, 2, 2), torch.arange(5)), (torch.randn(2, 3, 2, 2), torch.arange(2))]
    for _ in range(2):
        trainer.test(classifier, dataloaders=DataLoader(batches, batch_size=None), verbose=False)
        assert [len(row) for row, _, _ in classifier.tested] == [5, 2]
