"""Ground-truth masks of an image folder: ROOT/masks/<split>/<class>/<name>.*, in the order of their images."""

import numpy as np
import pytest
import torch
from masked_tree import SIZE, tree
from PIL import Image

from attnlab.data.build import make_datamodule
from attnlab.data.decode import read_tree, read_trees
from attnlab.data.memory import MemoryData, canonical
from attnlab.data.subset import sample
from attnlab.errors import DataError


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
    from attnlab.configuration.compose import plain
    from attnlab.configuration.identity import run_id

    found = []
    for masked in ((), ("train", "test")):
        root = tree(tmp_path / f"tree{len(masked)}", masked=masked)
        overrides = ["dataset=folder", f"dataset.root={root}", f"dataset.image_size={SIZE}", "dataset.cache=null"]
        values = plain(attnlab.config([*overrides, "model=resnet8", "recipe.validation.images=2"]))
        data = make_datamodule(values)
        data.setup()
        found.append((run_id(values), data.data_hash))
        assert (data.test.masks is None) == (not masked)
        assert (data.val.masks is None) == (not masked)
    assert found[0] == found[1]


def test_names_that_fit_no_image_are_an_error(tmp_path):
    root = tree(tmp_path, masked=())
    (root / "masks" / "test" / "ant").mkdir(parents=True)
    Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(root / "masks" / "test" / "ant" / "other.png")
    with pytest.raises(DataError, match="no mask has an image"):
        read_tree(root, "test", ["ant", "bee"], SIZE)


def test_a_damaged_mask_is_named(tmp_path):
    root = tree(tmp_path)
    (root / "masks" / "test" / "bee" / "2.bmp").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bee/2\.bmp"):
        read_tree(root, "test", ["ant", "bee"], SIZE)


def test_a_sample_is_stratified_and_fixed(tmp_path):
    root = tree(tmp_path)
    train, test = read_trees(root, SIZE, None)

    data = MemoryData(classes=2, image_size=SIZE)
    data.test = test
    first, second = sample(data, "test", 4), sample(data, "test", 4)
    assert torch.equal(first.images, second.images)
    assert torch.bincount(first.labels).tolist() == [2, 2]
    assert torch.equal(first.masks, bright(first))
    assert len(sample(data, "test", 100)) == 6


@pytest.mark.parametrize(
    ("mode", "background", "object_"),
    [
        ("RGB", (0, 0, 0), (0, 0, 3)),
        ("L", 0, 1),
        ("I;16", 0, 1),
        ("F", 0.0, 0.2),
        ("RGBA", (0, 0, 0, 255), (0, 0, 1, 255)),
        ("RGBA", (255, 255, 255, 0), (9, 0, 0, 255)),
        ("LA", (0, 255), (2, 255)),
        ("P", 0, 1),
    ],
)
def test_any_channel_that_is_not_zero_is_the_object(tmp_path, mode, background, object_):
    mask = Image.new(mode, (SIZE, SIZE), background)
    if mode == "P":
        mask.putpalette([0, 0, 0, 0, 0, 4])
    mask.paste(object_, (2, 3, 9, 11))
    (tmp_path / "test" / "ant").mkdir(parents=True)
    (tmp_path / "masks" / "test" / "ant").mkdir(parents=True)
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "test" / "ant" / "a.png")
    mask.save(tmp_path / "masks" / "test" / "ant" / ("a.tif" if mode in ("F", "I;16") else "a.png"))
    expected = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    expected[3:11, 2:9] = True
    assert torch.equal(read_tree(tmp_path, "test", ["ant"], SIZE).masks[0], expected)


def test_a_mask_of_another_shape_is_refused(tmp_path):
    """As one that was drawn on a photograph as it is shown, and not as it is stored, would be, were it not turned."""
    root = tree(tmp_path)
    Image.fromarray(np.full((SIZE, 2 * SIZE), 255, np.uint8)).save(root / "masks" / "test" / "bee" / "2.bmp")
    with pytest.raises(
        DataError, match=r"masks/ bee/2\.bmp has 32x16 pixels, its image 16x16; allowed is the same shape"
    ):
        read_tree(root, "test", ["ant", "bee"], SIZE)


def test_masks_lie_on_photographs_as_they_are_shown(tmp_path):
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 12:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned
    for kind in ("test", "masks/test"):
        (tmp_path / kind / "ant").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "test" / "ant" / "a.png", exif=exif)
    Image.fromarray(np.rot90(pixels, 3)[..., 0]).save(tmp_path / "masks" / "test" / "ant" / "a.png")
    found = read_tree(tmp_path, "test", ["ant"], 20)
    assert torch.equal(found.masks, bright(found))
    assert found.masks.any()


def test_a_lossy_mask_and_two_masks_of_one_name_are_refused(tmp_path):
    """JPEG leaves grey around the object, which would count as object; of two masks one would win without a word."""
    root = tree(tmp_path / "tree")
    folder = root / "masks" / "test" / "ant"
    mask = np.full((SIZE, SIZE), 255, np.uint8)
    Image.fromarray(mask).save(folder / "0.png")
    with pytest.raises(DataError, match=r"^two masks of one image: 0\.bmp and masks/test/ant/0\.png in dataset\.root="):
        read_trees(root, SIZE, None)
    (folder / "0.png").unlink()
    (folder / "0.bmp").unlink()
    Image.fromarray(mask).save(folder / "0.jpg")
    with pytest.raises(
        DataError, match=r"^lossy mask masks/test/ant/0\.jpg in dataset\.root=.*: JPEG changes pixels; "
    ):
        read_trees(root, SIZE, None)
