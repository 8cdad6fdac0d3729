"""Files of a tree that are not used are counted and named; a class that would lose most of its own is refused."""

import re
import shutil

import numpy as np
import pytest
from masked_tree import SIZE, tree
from official import loaded
from PIL import Image

from attnlab.configuration.compose import check, config
from attnlab.configuration.identity import run_id
from attnlab.configuration.image_tree import fingerprint
from attnlab.errors import AttnlabError


def notes(root):
    return loaded("dataset=folder", f"dataset.root={root}", f"dataset.image_size={SIZE}", "dataset.cache=null").notes


def test_other_suffixes_that_pillow_reads_are_images(tmp_path):
    root = tree(tmp_path, masked=())
    draw = np.random.default_rng(1)
    for name in ("a.jfif", "b.gif", "c.jp2", "d.avif"):
        Image.fromarray(draw.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(root / "train" / "bee" / name)
    data = loaded("dataset=folder", f"dataset.root={root}", f"dataset.image_size={SIZE}", "dataset.cache=null")
    assert data.train.labels.bincount().tolist() == [3, 7]
    assert data.notes == []


def test_what_is_left_out_is_counted_class_by_class(tmp_path):
    root = tree(tmp_path, masked=())
    (root / "train" / "ant" / "x.heic").write_bytes(b"0")
    (root / "train" / "bee" / "more").mkdir()
    shutil.copy(root / "train" / "bee" / "0.png", root / "train" / "bee" / "more" / "9.png")
    (root / "train" / "bee" / "y").write_bytes(b"0")
    shutil.copy(root / "test" / "bee" / "0.png", root / "test" / "0.png")
    (root / "val").mkdir()
    assert notes(root) == [
        "train/: 3 files are left out: ant 1 .heic; bee 1 in subfolders, 1 without a suffix",
        "test/: 1 files are left out: 1 beside the class folders",
        "val/ is not used: validation images are drawn from train/",
    ]


def test_texts_annotations_and_hidden_files_are_no_pictures(tmp_path):
    root = tree(tmp_path, masked=())
    before = run_id(check(config(["dataset=folder", f"dataset.root={root}"])))
    for number in range(3):
        for name in (f"{number}.xml", f"{number}.npy", f"note{number}.txt", f".hidden{number}", "Thumbs.db"):
            (root / "train" / "ant" / name).write_bytes(b"0")
    assert notes(root) == []
    assert run_id(check(config(["dataset=folder", f"dataset.root={root}"]))) == before


@pytest.mark.parametrize(
    ("names", "said"),
    [([f"{n}.heic" for n in range(10, 14)], "4 .heic"), ([f"new/{n}.png" for n in range(4)], "4 in subfolders")],
)
def test_a_class_that_loses_most_of_its_files_is_refused(tmp_path, names, said):
    root = tree(tmp_path, masked=())
    for name in names:
        (root / "train" / "ant" / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / "train" / "ant" / "0.png", root / "train" / "ant" / name)
    message = rf"most files would not be read in train/ant/ of dataset\.root=.*: {re.escape(said)}; 3 would be"
    with pytest.raises(AttnlabError, match=message):
        loaded("dataset=folder", f"dataset.root={root}")


def test_a_run_says_what_is_left_out_and_how_many_images_have_masks(tmp_path, capsys):
    import attnlab

    root = tree(tmp_path / "tree", without=("bee/1", "ant/0"))
    shutil.move(root / "masks" / "test" / "bee" / "2.bmp", root / "masks" / "test" / "bee" / "two.bmp")
    (root / "train" / "ant" / "x.heic").write_bytes(b"0")
    overrides = ["dataset=folder", f"dataset.root={root}", f"dataset.image_size={SIZE}", "dataset.cache=null"]
    overrides += ["model=resnet8", "recipe.validation.images=0", "recipe.epochs=1", "tracker=csv"]
    record = attnlab.train(attnlab.config([*overrides, f"output_dir={tmp_path / 'outputs'}"]))
    out = capsys.readouterr().out
    assert f"({record['id']}): train/: 1 files are left out: ant 1 .heic\n" in out
    assert f"({record['id']}): masks/test/: 3 of 6 images have a mask; 1 masks fit no image\n" in out


def test_the_fingerprint_is_what_it_was(tmp_path):
    """Of names and contents, however they are read: the ids of runs hold it."""
    import hashlib

    root = tree(tmp_path, masked=())
    lines = [
        f"{path.relative_to(root).as_posix()} {hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()}"
        for split in ("train", "test")
        for path in sorted((root / split).glob("*/*"))
    ]
    assert fingerprint(str(root)) == hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
