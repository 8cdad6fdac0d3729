"""An id, a cached copy and a record stand for the images that they were made of, and for no others."""

import os
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from masked_tree import SIZE, tree
from official import CLASSES, loaded, write_cifar
from PIL import Image

import attnlab
from attnlab.configuration.compose import check, config
from attnlab.data import cifar as cifar_module
from attnlab.data import decode as tree_module
from attnlab.data.build import make_datamodule
from attnlab.data.decode import read_trees
from attnlab.errors import AttnlabError, ConfigError, DataError
from attnlab.evaluate import evaluate


def replaced(path):
    """Other pixels of the same size and time."""
    before = path.stat()
    with Image.open(path) as picture:
        pixels = 255 - np.asarray(picture)
    Image.fromarray(pixels).save(path)
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def bitmaps(root, seed=0):
    """A tree whose files are all of one size."""
    draw = np.random.default_rng(seed)
    for split in ("train", "val", "test"):
        for name in CLASSES[:2]:
            (root / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = draw.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.bmp")
    return root


@pytest.mark.parametrize("victim", ["train/ant/0.bmp", "masks/test/ant/0.bmp"])
def test_files_replaced_under_equal_times_are_decoded_anew(tmp_path, victim):
    root = tree(tmp_path / "tree")
    Image.open(root / "train" / "ant" / "0.png").save(root / "train" / "ant" / "0.bmp")
    before = read_trees(root, SIZE, tmp_path / "cache")
    replaced(root / victim)
    after = read_trees(root, SIZE, tmp_path / "cache")
    fresh = read_trees(root, SIZE, None)
    for old, new, now in zip(before, after, fresh, strict=True):
        assert torch.equal(new.images, now.images)
        assert (new.masks is None) or torch.equal(new.masks, now.masks)
        changed = old is before[0] if victim.startswith("train") else old is before[1]
        same = torch.equal(old.images, new.images) and (old.masks is None or torch.equal(old.masks, new.masks))
        assert same == (not changed)


def test_a_mended_decoder_keeps_no_pixels_of_the_old_one(tmp_path, monkeypatch):
    root = tree(tmp_path / "tree")
    old = read_trees(root, SIZE, tmp_path / "cache")[0]
    decode = tree_module.decode
    monkeypatch.setattr(tree_module, "decode", lambda path, size: 255 - decode(path, size))
    monkeypatch.setattr(tree_module, "DECODER", "mended", raising=False)
    new = read_trees(root, SIZE, tmp_path / "cache")[0]
    assert not torch.equal(old.images, new.images)


@pytest.mark.parametrize("file", ["decode.py", "modes.py", "image_formats.py", "image_tree.py", "Pillow"])
def test_the_decoder_is_its_source_and_pillow(monkeypatch, file):
    text = Path.read_text
    if file == "Pillow":
        monkeypatch.setattr("importlib.metadata.version", lambda name: "0")
    else:
        monkeypatch.setattr(Path, "read_text", lambda self, *a, **k: text(self, *a, **k) + "#" * (self.name == file))
    assert runpy.run_path(tree_module.__file__)["DECODER"] != tree_module.DECODER


def test_a_tree_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    root = bitmaps(tmp_path / "tree")
    decode = tree_module.decode

    def slow(path, size):
        found = decode(path, size)
        if path.name == "3.bmp" and path.parent.parent.name == "test":
            replaced(path)
        return found

    monkeypatch.setattr(tree_module, "decode", slow)
    with pytest.raises(DataError, match="its files changed while they were read; run it again"):
        read_trees(root, SIZE, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.pt"))


def test_a_folder_that_changed_after_its_config_was_made_is_refused(tmp_path):
    root = bitmaps(tmp_path / "tree")
    values = check(config(["dataset=folder", f"dataset.root={root}", f"dataset.image_size={SIZE}"]))
    replaced(root / "train" / "airplane" / "0.bmp")
    data = make_datamodule(values)
    with pytest.raises(DataError, match=r"holds other images \(listing \w+\) than the config was made for"):
        data.setup()


def miniature(root, monkeypatch, seed=0):
    """20 training and 10 test images in CIFAR-10's official format, and the same as a tree."""
    draw = np.random.default_rng(seed)
    images = [draw.integers(0, 256, (10, 3, 32, 32), dtype=np.uint8) for _ in range(6)]
    (root / "official").mkdir(parents=True)
    write_cifar(root / "official", monkeypatch, images, [list(range(10))] * 6)
    for part, pixels in enumerate(images):
        for label, image in enumerate(pixels):
            folder = root / "tree" / ("test" if part == 5 else "train") / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{part}.png")
    return root / "official", root / "tree"


def test_a_cifar_tree_is_cifar_or_refused(tmp_path, monkeypatch):
    official, same = miniature(tmp_path / "a", monkeypatch)
    _, other = miniature(tmp_path / "b", monkeypatch, seed=1)
    monkeypatch.setattr(cifar_module.CIFAR, "_complete", lambda self, split, each: None)
    expected = loaded("dataset=cifar10", f"dataset.root={official}").data_hash
    monkeypatch.setattr(cifar_module.CIFAR10, "official", expected, raising=False)
    assert loaded("dataset=cifar10", f"dataset.root={same}").data_hash == expected
    with pytest.raises(DataError, match=r"are not those of CIFAR10 \(data_hash \w+, expected"):
        loaded("dataset=cifar10", f"dataset.root={other}")
    for split in ("train", "test"):  # in the same order
        (same / split / "airplane").rename(same / split / "aeroplane")
    assert loaded("dataset=cifar10", f"dataset.root={same}").data_hash == expected
    for split in ("train", "test"):
        (same / split / "aeroplane").rename(same / split / "plane")
    with pytest.raises(DataError, match="its images, or their classes in the order of the folders' names, are not"):
        loaded("dataset=cifar10", f"dataset.root={same}")


@pytest.mark.parametrize("dataset", [cifar_module.CIFAR10, cifar_module.CIFAR100])
def test_the_official_hash_is_that_of_recorded_runs(dataset):
    """Trained on the official images; torchvision's checksums, or this hash, verified them."""
    results = attnlab.load_results(Path(__file__).parents[2] / "results")
    found = set(results["data_hash"][results["dataset"].eq(dataset.__name__.lower())])
    assert found == {dataset.official}


def test_imagenets_of_equal_names_and_sizes_are_told_apart(tmp_path, monkeypatch):
    roots = [bitmaps(tmp_path / str(seed), seed) for seed in (0, 1)]
    asked = [["dataset=imagenet", f"dataset.root={root}", "dataset.classes=2", "machine.workers=0"] for root in roots]
    assert loaded(*asked[0]).data_hash != loaded(*asked[1]).data_hash
    assert loaded(*asked[0]).data_hash == loaded(*asked[0]).data_hash
    monkeypatch.setattr("attnlab.configuration.image_tree.MOST_READ", 1000)  # bytes: a part of the files
    assert loaded(*asked[0]).data_hash != loaded(*asked[1]).data_hash


def test_a_run_is_evaluated_on_its_own_images_and_says_when_it_did_not_look(tmp_path, monkeypatch, capsys):
    own, _ = miniature(tmp_path / "a", monkeypatch)
    other, _ = miniature(tmp_path / "b", monkeypatch, seed=1)
    where = [f"output_dir={tmp_path / 'outputs'}", "dataset=cifar10"]
    overrides = [*where, "model=resnet8", "recipe.epochs=1", "recipe.validation.images=10", "tracker=csv"]
    record = attnlab.train(attnlab.config([*overrides, f"dataset.root={own}"]))
    capsys.readouterr()
    assert attnlab.train(attnlab.config([*overrides, f"dataset.root={other}"])) == record  # one id
    assert (
        "found recorded, not run again (force=true would); its images were not looked at\n" in capsys.readouterr().out
    )
    asked = [f"run={record['id']}", *where]
    assert evaluate([*asked, f"dataset.root={own}"])["data_hash"] == record["data_hash"]
    with pytest.raises(ConfigError, match=rf"the images differ .* the run's is {record['data_hash']}"):
        evaluate([*asked, f"dataset.root={other}"])


def test_what_an_id_tells_is_not_said_to_be_unseen(tmp_path, tiny, capsys):
    root = tree(tmp_path / "tree", masked=())
    folder = ["dataset=folder", f"dataset.root={root}", f"dataset.image_size={SIZE}", "recipe.validation.images=0"]
    folder += [o for o in tiny if not o.startswith(("dataset", "recipe.validation"))]
    for overrides in (tiny, folder):
        for _ in range(2):
            attnlab.train(attnlab.config([*overrides, "recipe.epochs=1"]))
        out = capsys.readouterr().out
        assert "found recorded, not run again (force=true would)\n" in out
    shutil.copy(root / "train" / "ant" / "0.png", root / "train" / "ant" / "9.png")
    with pytest.raises(AttnlabError):
        evaluate([f"run={_only(tmp_path, root)}", f"output_dir={tmp_path / 'outputs'}", f"dataset.root={root}"])


def _only(tmp_path, root):
    """The id of the run on the folder."""
    found = attnlab.load_results(tmp_path / "outputs")
    return found[found["dataset"].str.startswith("folder")]["id"].item()
