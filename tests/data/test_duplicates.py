"""Images that are in two splits are counted, said at the start of a run, and kept in its record."""

import shutil

import pytest
import torch
from masked_tree import SIZE, tree
from official import loaded

import attnlab
from attnlab.configuration.image_tree import MOST_READ
from attnlab.data.duplicates import count_copies


@pytest.mark.parametrize("side", [5, 8])  # 75 and 192 bytes: with a rest beside words of eight, and without
def test_copies_are_counted_whatever_their_labels(draw, side):
    images = torch.randint(0, 256, (100, 3, side, side), dtype=torch.uint8, generator=draw(0))
    train, val, test = images[:60].clone(), images[60:80].clone(), images[80:].clone()
    assert count_copies({"train": train, "val": val, "test": test}) == {"val": 0, "test": 0}
    test[3], test[4], test[5], val[7] = train[9], train[9], val[1], train[50]
    assert count_copies({"train": train, "val": val, "test": test}) == {"val": 1, "test": 3}
    assert count_copies({"train": train, "val": val[:0], "test": test}) == {"val": 0, "test": 2}


def test_equal_sums_are_no_copies(draw):
    """The same words of eight bytes in another order: only the digest tells them apart."""
    train = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=draw(1))
    assert count_copies({"train": train, "val": train[:0], "test": train.flip(2)}) == {"val": 0, "test": 0}


def test_a_run_says_and_records_them(tmp_path, capsys):
    root = tree(tmp_path / "tree", masked=())
    shutil.copy(root / "train" / "ant" / "0.png", root / "test" / "bee" / "9.png")  # even as another class
    overrides = ["dataset=folder", f"dataset.root={root}", f"dataset.image_size={SIZE}", "dataset.cache=null"]
    overrides += ["model=resnet8", "recipe.validation.images=0", "recipe.epochs=1", "tracker=csv"]
    record = attnlab.train(attnlab.config([*overrides, f"output_dir={tmp_path / 'outputs'}"]))
    assert record["duplicates"] == {"val": 0, "test": 1}
    out = capsys.readouterr().out
    text = "the splits share images, exact copies: 1 of 7 test images are training or validation images"
    assert f"({record['id']}): {text}\n" in out


def test_of_an_image_tree_read_file_by_file(tmp_path, monkeypatch):
    root = tree(tmp_path / "tree", masked=())
    (root / "test").rename(root / "val")
    shutil.copy(root / "train" / "ant" / "0.png", root / "val" / "bee" / "9.png")
    overrides = ["dataset=imagenet", f"dataset.root={root}", "dataset.classes=2", "machine.workers=0"]
    assert loaded(*overrides).duplicates == {"val": 0, "test": 1}
    monkeypatch.setattr("attnlab.configuration.image_tree.MOST_READ", 1000)  # bytes: too many files to read them all
    assert MOST_READ > 1000
    assert loaded(*overrides).duplicates is None
