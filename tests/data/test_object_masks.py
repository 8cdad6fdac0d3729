"""Ground-truth masks of an image folder: ROOT/masks/<split>/<class>/<name>.*, in the order of their images."""

import numpy as np
import pytest
import torch
from masked_tree import SIZE, tree
from PIL import Image

from attnlab.data.memory import canonical
from attnlab.data.sample import sample
from attnlab.data.tree import read_tree, read_trees
from attnlab.errors import DataError
from attnlab.parts import datamodule


def bright(images):
    return (images.images == 255).all(dim=1)


def test_masks_follow_their_images(tmp_path):
    root = tree(tmp_path / "tree", without=("bee/1",))
    train, test = read_trees(root, SIZE, tmp_path / "cache")
    again = read_trees(root, SIZE, tmp_path / "cache")[1]  # from the cache
    assert train.masks is None
    for found in (test, again, canonical(read_tree(root, "test", ["ant", "bee"], SIZE))):
        known = found.masks.flatten(1).any(dim=1)
        assert int(known.sum()) == 5
        assert torch.equal(found.masks[known], bright(found)[known])


def test_masks_are_cut_and_resized_as_images(tmp_path):
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 10:20] = 255  # the left half of the central square
    for kind, name in (("test", "a.png"), ("masks/test", "a.png")):
        (tmp_path / kind / "ant").mkdir(parents=True)
        Image.fromarray(wide).save(tmp_path / kind / "ant" / name)
    found = read_tree(tmp_path, "test", ["ant"], 8)
    assert torch.equal(found.masks[0], torch.arange(8).expand(8, 8) < 4)


def test_a_touched_mask_is_read_anew(tmp_path):
    root = tree(tmp_path / "tree")
    before = read_trees(root, SIZE, tmp_path / "cache")[1].masks
    Image.fromarray(np.full((SIZE, SIZE), 255, np.uint8)).save(root / "masks" / "test" / "ant" / "0.bmp")
    after = read_trees(root, SIZE, tmp_path / "cache")[1].masks
    assert not torch.equal(before, after)
    assert bool(after.flatten(1).all(dim=1).any())


def test_masks_are_no_part_of_the_dataset(tmp_path):
    """They decide no training: the run's id and data_hash stay."""
    import attnlab
    from attnlab.compose import plain
    from attnlab.identity import run_id

    found = []
    for masked in ((), ("train", "test")):
        root = tree(tmp_path / f"tree{len(masked)}", masked=masked)
        overrides = ["dataset=folder", f"dataset.root={root}", f"dataset.image_size={SIZE}", "dataset.cache=null"]
        values = plain(attnlab.config([*overrides, "model=resnet8", "recipe.validation.images=2"]))
        data = datamodule(values)
        data.setup()
        found.append((run_id(values), data.data_hash))
        assert (data.test.masks is None) == (not masked)
        assert (data.val.masks is None) == (not masked)
    assert found[0] == found[1]


def test_names_that_fit_no_image_are_an_error(tmp_path):
    root = tree(tmp_path, masked=())
    (root / "masks" / "test" / "ant").mkdir(parents=True)
    Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(root / "masks" / "test" / "ant" / "other.png")
    with pytest.raises(DataError, match="none named as an image"):
        read_tree(root, "test", ["ant", "bee"], SIZE)


def test_a_damaged_mask_is_named(tmp_path):
    root = tree(tmp_path)
    (root / "masks" / "test" / "bee" / "2.bmp").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bee/2\.bmp"):
        read_tree(root, "test", ["ant", "bee"], SIZE)


def test_a_sample_is_stratified_and_fixed(tmp_path):
    root = tree(tmp_path)
    train, test = read_trees(root, SIZE, None)

    class Data:
        pass

    data = Data()
    data.test = test
    first, second = sample(data, "test", 4), sample(data, "test", 4)
    assert torch.equal(first.images, second.images)
    assert torch.bincount(first.labels).tolist() == [2, 2]
    assert torch.equal(first.masks, bright(first))
    assert len(sample(data, "test", 100)) == 6
