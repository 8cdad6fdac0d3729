"""A tree train/, val/ without test/: val/ is tested, and a run says so."""

import shutil

import pytest
import torch
from test_held_out import ready
from test_sources import tree

import attnlab
from attnlab.configuration.compose import config, plain
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError, DataError
from attnlab.records.source_code import digests

HELD = "recipe.validation.images=0.2"


def of(root, *more):
    return ["dataset=folder", f"dataset.root={root}", HELD, *more]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_val_is_the_test_set(tmp_path, name):
    whole = ready(*of(tree(tmp_path / "a", each=10, splits=("train", "test"))))
    root = tree(tmp_path / "b", each=10, splits=("train", "test"))
    (root / "test").rename(root / name)
    found = ready(*of(root))
    for split in ("train", "val", "test"):
        assert torch.equal(getattr(found, split).images, getattr(whole, split).images)
        assert torch.equal(getattr(found, split).labels, getattr(whole, split).labels)
    line = f"no test/ in dataset.root={root}: {name}/ is the test set; validation images are drawn from train/"
    assert found.notes == [line]


def test_it_is_in_the_id_and_in_the_code_of_the_record(tmp_path):
    root = tree(tmp_path, each=10, splits=("train", "test"))
    usual = plain(config(of(root)))
    assert usual["dataset"]["test_split"] is None
    (root / "test").rename(root / "val")
    other = plain(config(of(root)))
    assert other["dataset"]["test_split"] == "val"
    assert other["dataset"]["_target_"] == usual["dataset"]["_target_"]
    assert run_id(other) != run_id(usual)
    assert "data.train_val_folder" in digests(other)
    assert "data.train_val_folder" not in digests(usual)


def test_both_folders_test_is_tested_and_val_is_not_used_unless_it_is_named(tmp_path):
    root = tree(tmp_path, each=10, splits=("train", "test", "val"))
    usual = ready(*of(root))
    assert usual.notes == ["val/ is not used: validation images are drawn from train/"]
    named = ready(*of(root, "dataset.test_split=val"))
    assert named.notes == ["val/ is the test set; validation images are drawn from train/"]
    assert len(named.test) == len(usual.test)
    assert not torch.equal(named.test.images, usual.test.images)


def test_other_images_are_other_runs_and_are_refused(tmp_path):
    root = tree(tmp_path, each=10, splits=("train", "val"))
    values = plain(config(of(root)))
    first = next((root / "val").glob("*/*"))
    shutil.copy(next((root / "train").glob("*/*")), first)
    assert run_id(config(of(root))) != run_id(values)
    from attnlab.data.build import make_datamodule

    with pytest.raises(DataError, match=r"holds other images \(listing \w+\) than the config was made for"):
        make_datamodule(values).setup()


def test_a_tree_with_neither_is_refused_as_before(tmp_path):
    root = tree(tmp_path, each=10, splits=("train",))
    with pytest.raises(ConfigError, match=r"no folder test/ in dataset\.root="):
        config(of(root))


def test_a_run_on_it_trains_is_found_again_and_evaluated(tmp_path, capsys):
    root = tree(tmp_path, each=10, splits=("train", "val"))
    overrides = of(root, "model=resnet8", "recipe.epochs=1", "recipe.batch_size=8", "tracker=csv",
                   f"output_dir={tmp_path / 'outputs'}")  # fmt: skip
    record = attnlab.train(attnlab.config(overrides))
    assert "val/ is the test set" in capsys.readouterr().out
    assert record["config"]["dataset"]["test_split"] == "val"
    from attnlab.evaluation.finished_run import read_run_data

    found = read_run_data(record["id"], tmp_path / "outputs", record["config"]["machine"], [f"dataset.root={root}"])
    assert found.data.data_hash == record["data_hash"]
