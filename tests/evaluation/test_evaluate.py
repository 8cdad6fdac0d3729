"""A finished run is tested on another dataset or split."""

import json
import shutil

import pytest
import torch
from conftest import TINY
from masked_tree import tree

import attnlab
from attnlab.errors import ConfigError, DataError
from attnlab.evaluate import evaluate
from attnlab.records.record import seal
from attnlab.training import retest


def test_evaluate(tiny):
    cfg = attnlab.config(tiny)
    record = attnlab.train(cfg)
    where = [f"run={record['id'][:5]}", f"output_dir={cfg.output_dir}"]
    own = evaluate(where)
    for name in ("top1_error", "top5_error", "loss", "calibration_error"):
        assert own[name] == pytest.approx(record["metrics"][f"test/{name}"], rel=1e-3)
    assert evaluate([*where, "split=val"])["top1_error"] == pytest.approx(record["metrics"]["val/top1_error"], abs=1e-3)
    other = evaluate([*where, "dataset.seed=1", "dataset.train_size=50", "dataset.test_size=200"])
    assert other["data_hash"] != own["data_hash"] == record["data_hash"]
    assert attnlab.load_results(cfg.output_dir)["test/top1_error"].tolist() == [record["metrics"]["test/top1_error"]]
    for bad, message in (
        ("split=both", r"^unknown choice split=both; allowed are val, test, train"),
        ("dataset=cifar100", r"^wrong value dataset\.classes=100; allowed is 10"),
        ("model=resnet8", r"^unknown key model; allowed are run, split"),
    ):
        with pytest.raises(ConfigError, match=message):
            evaluate([*where, bad])
    with pytest.raises(ConfigError, match=r"run=zz: no such finished run"):
        evaluate(["run=zz", where[1]])


def test_an_argument_without_a_value_is_refused():
    with pytest.raises(ConfigError, match=r"^wrong argument run; allowed is KEY=VALUE, as run=ID"):
        evaluate(["run"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 32-true on a machine that has bf16: its folder, its record."""
    output_dir = tmp_path_factory.mktemp("evaluate") / "outputs"
    overrides = [*TINY, "recipe.epochs=1", "machine.precision=32-true", f"output_dir={output_dir}"]
    record = attnlab.train(attnlab.config(overrides))
    return output_dir / record["id"], record


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of it, and what names it."""
    folder, record = finished
    shutil.copytree(folder, tmp_path / "outputs" / folder.name)
    return tmp_path / "outputs" / folder.name, record, [f"run={folder.name}", f"output_dir={tmp_path / 'outputs'}"]


def test_a_run_is_tested_in_its_own_precision_and_another_one_is_another_file(copy, monkeypatch):
    monkeypatch.setattr("attnlab.machine.hardware.cpu_has_bf16", lambda: True)
    folder, record, where = copy
    own = evaluate(where)
    assert own["loss"] == pytest.approx(record["metrics"]["test/loss"], rel=1e-6)
    assert own["precision"] == record["precision"] == "32-true"
    assert own["record"] == record["checksum"]
    other = evaluate([*where, "machine.precision=bf16-mixed"])
    assert other["precision"] == "bf16-mixed"
    assert other["loss"] != own["loss"]
    files = {path: json.loads(path.read_text()) for path in (folder / "evaluations").iterdir()}
    assert sorted(found["precision"] for found in files.values()) == ["32-true", "bf16-mixed"]


def test_a_precision_that_is_not_available_is_refused(copy):
    folder, record, where = copy
    (folder / "result.json").write_text(json.dumps(seal(record | {"precision": "16-mixed"})))
    with pytest.raises(ConfigError, match=rf"^run={folder.name}: was tested in 16-mixed, .*machine\.precision=32-true"):
        evaluate([*where, "machine=cpu"])
    assert evaluate([*where, "machine=cpu", "machine.precision=32-true"])["precision"] == "32-true"


def test_what_was_edited_is_not_believed(copy):
    folder, record, where = copy
    config = folder / "config.yaml"
    text = config.read_text()
    assert "normalize: channel" in text
    config.write_text(text.replace("normalize: channel", "normalize: scale"))
    with pytest.raises(ConfigError, match=r"its config\.yaml was edited: it is the config of run \w{12}; result\.json"):
        evaluate(where)
    config.write_text(text)
    (folder / "result.json").write_text(json.dumps(record | {"precision": "bf16-mixed"}))
    with pytest.raises(ConfigError, match=r"its result\.json was changed after it was written"):
        evaluate(where)
    (folder / "result.json").write_text(json.dumps(seal(record | {"data_hash": "0" * 16})))
    with pytest.raises(ConfigError, match=r"^the images differ from those of run=\w+ .*; set dataset\.root to the"):
        evaluate(where)


def test_the_machine_is_honoured_or_refused(copy, monkeypatch):
    _, _, where = copy
    nets, read = [], retest.load

    def load(*arguments):
        net = read(*arguments)
        net.compile = lambda: nets.append("compiled")
        nets.append(net)
        return net

    monkeypatch.setattr(retest, "load", load)
    threads = torch.get_num_threads()
    try:
        evaluate([*where, "machine.threads=2", "machine.compile=true"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert nets[1:] == ["compiled"]

    def is_channels_last(net):
        weights = [p for p in net.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1]
        return {p.is_contiguous(memory_format=torch.channels_last) for p in weights}

    assert is_channels_last(nets[0]) == {True}
    evaluate([*where, "machine.channels_last=false", "machine.devices=auto", "machine.accelerator=cpu"])
    assert is_channels_last(nets[-1]) == {False}
    for bad, message in (
        ("machine.devices=2", r"^wrong value machine\.devices=2; allowed here is 1"),
        ("machine.devices=[0,1]", r"^wrong value machine\.devices=\[0, 1\]; allowed here is 1"),
        ("machine.nodes=2", r"^wrong value machine\.devices=1 with machine\.nodes=2; allowed here is 1"),
        ("machine.batches=3", r"^wrong value machine\.batches=3; allowed here is null"),
        ("machine.threads=abc", r"^wrong value machine\.threads=abc; allowed is an integer from 1, or null$"),
    ):
        with pytest.raises(ConfigError, match=message):
            evaluate([*where, bad])


def test_a_run_of_a_folder_is_tested_on_another_one(tmp_path):
    own, other = tree(tmp_path / "own"), tree(tmp_path / "other", seed=1)
    record = attnlab.train(attnlab.config([
        "dataset=folder", f"dataset.root={own}", "dataset.image_size=16", "model=resnet8", "recipe.epochs=1",
        "recipe.validation.images=0", "recipe.batch_size=3", "tracker=csv", f"output_dir={tmp_path / 'outputs'}",
    ]))  # fmt: skip
    where = [f"run={record['id']}", f"output_dir={tmp_path / 'outputs'}"]
    there = ["dataset=folder", f"dataset.root={other}", "dataset.image_size=16"]
    remembered = [evaluate([*where, *asked]) for asked in ([], there)]
    (tmp_path / "outputs" / record["id"] / "image_folder.json").unlink()  # as on another machine
    assert remembered == [evaluate([*where, f"run.root={own}"]), evaluate([*where, *there, f"run.root={own}"])]
    for asked in ([], there):
        with pytest.raises(ConfigError, match=r"^missing key run\.root; allowed is the folder of the run's"):
            evaluate([*where, *asked])
    with pytest.raises(
        DataError, match=r"^run\.root=.*: holds other images \(listing \w+\) than the config was made for"
    ):
        evaluate([*where, *there, f"run.root={other}"])
    found = evaluate([*where, *there, f"run.root={own}"])
    assert found["data_hash"] != record["data_hash"]
    for asked in (
        [f"run.root={own}"],
        [f"dataset.root={own}"],
        ["dataset=folder", f"dataset.root={own}", "dataset.image_size=16"],
    ):
        assert evaluate([*where, *asked])["loss"] == pytest.approx(record["metrics"]["test/loss"], rel=1e-5)


def test_a_key_of_the_dataset_is_that_of_the_runs_own_dataset(copy, capsys, monkeypatch):
    """Also where the run's dataset was not the default one: here of 100 test images, which the yaml does not say."""
    monkeypatch.setattr(retest, "classes_differ", lambda *of_both: "warning: other classes")
    folder, record, where = copy
    own, changed = evaluate(where), evaluate([*where, "dataset.seed=1"])
    assert own["dataset"] | {"seed": 1} == changed["dataset"]
    assert changed["dataset"]["test_size"] == 100
    assert changed["data_hash"] != own["data_hash"]
    assert capsys.readouterr().out.splitlines().count("warning: other classes") == 1  # of the changed one only


def test_a_run_is_named_by_its_values(copy):
    folder, record, where = copy
    by_values = evaluate(["run=attention=none seed=0", where[1]])
    assert by_values["run"] == folder.name
    assert evaluate(["run=last", where[1]])["loss"] == by_values["loss"]
    with pytest.raises(ConfigError, match=r"^run=attention=se: no such finished run in output_dir="):
        evaluate(["run=attention=se", where[1]])


FOLDER = {"_target_": "attnlab.data.folder.Folder", "classes": 2}
DIGITS = {"_target_": "attnlab.data.cluttered_digits.ClutteredDigits", "classes": 10}
CIFAR = {"_target_": "attnlab.data.cifar.CIFAR10", "classes": 10}


@pytest.mark.parametrize(
    ("own", "own_names", "other", "other_names", "words"),
    [
        (FOLDER, ["ant", "bee"], FOLDER, ["ant", "bee"], None),
        (FOLDER, ["ant", "bee"], FOLDER, ["ant", "cat"], "class 1 is cat here, bee in the run"),
        (DIGITS, None, DIGITS, None, None),
        (DIGITS, None, CIFAR, None, "dataset=cifar10 is of another kind than the run's, cluttered_digits,"),
        (CIFAR, None, FOLDER, ["ant", "bee"], "the classes of dataset=folder are not the run's: class 0 is ant here"),
    ],
)
def test_other_classes_are_a_warning(own, own_names, other, other_names, words):
    found = retest.classes_differ(own, own_names, other, other_names)
    assert (found is None) if words is None else words in found
