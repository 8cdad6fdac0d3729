"""Datasets on disk: official files, trees, folders; what is incomplete is refused by name."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from official import CLASSES, loaded, write_cifar, write_svhn
from PIL import Image

from attnlab.configuration.compose import check, config
from attnlab.data import cifar as cifar_module
from attnlab.data.build import make_datamodule
from attnlab.data.cache import cached
from attnlab.data.memory import Images, canonical, content_hash
from attnlab.errors import AttnlabError, ConfigError, DataError


def tree(root, each=3, size=(32, 32), splits=("train", "test"), classes=CLASSES[:3], suffix="png", seed=0):
    draw = np.random.default_rng(seed)
    for split in splits:
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for number in range(each):
                pixels = draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number:03d}.{suffix}")
    return root


def test_a_folder_of_any_size_and_its_classes(tmp_path):
    root = tree(tmp_path / "pets", size=(40, 60), suffix="jpg")
    cfg = config(["dataset=folder", f"dataset.root={root}", "dataset.image_size=16"])
    assert check(cfg)["head"]["classes"] == 3
    data = loaded("dataset=folder", f"dataset.root={root}", "dataset.image_size=16", "model=resnet8")
    assert data.train.images.shape == (9, 3, 16, 16)
    assert sorted(data.test.labels.tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_two_folders_are_two_datasets_wherever_they_lie(tmp_path):
    from attnlab.configuration.identity import run_id

    one, two = tree(tmp_path / "a"), tree(tmp_path / "b", each=4)
    shutil.copytree(one, tmp_path / "c")
    ids = [run_id(check(config(["dataset=folder", f"dataset.root={tmp_path / n}"]))) for n in ("a", "b", "c")]
    assert two.exists()
    assert ids[0] != ids[1]
    assert ids[0] == ids[2]


def test_decoded_trees_are_kept_and_damage_is_noticed(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"x": torch.arange(5)}

    for _ in range(2):
        assert torch.equal(cached(tmp_path, "name", make)["x"], torch.arange(5))
    assert len(made) == 1
    (tmp_path / "name.pt").write_bytes(b"damaged")
    assert torch.equal(cached(tmp_path, "name", make)["x"], torch.arange(5))
    kept = torch.load(tmp_path / "name.pt")
    torch.save({**kept, "x": torch.zeros(5, dtype=torch.int64)}, tmp_path / "name.pt")  # checksum no longer fits
    assert torch.equal(cached(tmp_path, "name", make)["x"], torch.arange(5))
    assert len(made) == 3


def test_the_order_of_files_changes_nothing():
    images = Images(torch.randint(0, 256, (30, 3, 4, 4), dtype=torch.uint8), torch.arange(30) % 3)
    shuffled = images.take(torch.randperm(30))
    assert torch.equal(canonical(images).images, canonical(shuffled).images)
    assert content_hash(images) == content_hash(shuffled)
    relabelled = Images(images.images, images.labels.flip(0))
    assert content_hash(images) != content_hash(relabelled)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: shutil.rmtree(root / "test"), r"^no folder test/ in dataset"),
        (
            lambda root: [p.unlink() for p in (root / "train" / "bird").iterdir()],
            r"^no images in train/bird/ of dataset",
        ),
        (lambda root: shutil.rmtree(root / "test" / "bird"), r"^classes differ: bird; test/ of dataset"),
        (lambda root: shutil.rmtree(root / "train"), r"^no folder train/ in dataset"),
    ],
)
def test_an_incomplete_folder_is_refused(tmp_path, damage, message):
    root = tree(tmp_path / "pets")
    damage(root)
    with pytest.raises(AttnlabError, match=message):
        loaded("dataset=folder", f"dataset.root={root}")


def test_a_truncated_image_is_named(tmp_path):
    root = tree(tmp_path / "pets")
    victim = root / "train" / "bird" / "001.png"
    victim.write_bytes(victim.read_bytes()[:200])
    with pytest.raises(DataError, match=r"bird/001\.png cannot be read as an image"):
        loaded("dataset=folder", f"dataset.root={root}")


def test_half_a_cifar_tree_is_refused(tmp_path):
    root = tree(tmp_path / "cifar", classes=CLASSES)
    with pytest.raises(DataError, match=r"train/airplane holds 3 images, expected 5000; half a copy\?"):
        loaded("dataset=cifar10", f"dataset.root={root}")
    with pytest.raises(DataError, match=r"train/ has 10 class folders, expected 100"):
        loaded("dataset=cifar100", f"dataset.root={root}")


def test_cifar_files_that_fail_their_checksums_are_refused(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half")
    with pytest.raises(DataError, match=r"cifar-10-batches-py/ is incomplete or damaged"):
        loaded("dataset=cifar10", f"dataset.root={tmp_path}")


def test_official_files_and_their_order(tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8) for _ in range(6)]
    labels = [[int(y) for y in draw.permutation(np.arange(20) % 10)] for _ in range(6)]
    write_cifar(tmp_path, monkeypatch, images, labels)
    overrides = ["dataset=cifar10", f"dataset.root={tmp_path}", "recipe.validation.images=20"]
    by_file = make_datamodule(check(config([*overrides, "recipe.validation.order=file"])))
    by_file.setup()
    assert torch.equal(by_file.train.images, torch.from_numpy(np.concatenate(images[:4])))
    assert torch.equal(by_file.val.images, torch.from_numpy(images[4]))
    assert by_file.val.labels.tolist() == labels[4]
    by_seed = make_datamodule(check(config(overrides)))
    by_seed.setup()
    assert by_seed.data_hash == by_file.data_hash
    assert torch.bincount(by_seed.val.labels).tolist() == [2] * 10
    # the same images as a tree: the same data, in the same order
    root = tmp_path / "tree"
    for split, parts in (("train", range(5)), ("test", [5])):
        for part in parts:
            for number, (image, label) in enumerate(zip(images[part], labels[part], strict=True)):
                folder = root / split / CLASSES[label]
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{part}-{number:02d}.png")
    monkeypatch.setattr(cifar_module.CIFAR, "_complete", lambda self, split, each: None)
    monkeypatch.setattr(cifar_module.CIFAR10, "official", by_seed.data_hash)
    from_tree = make_datamodule(check(config([*overrides[:1], f"dataset.root={root}", *overrides[2:]])))
    from_tree.setup()
    assert from_tree.data_hash == by_seed.data_hash
    assert torch.equal(from_tree.train.images, by_seed.train.images)
    refused = [f"dataset.root={root}", "recipe.validation.order=file", "recipe.validation.images=20"]
    sorted_by_class = make_datamodule(check(config(["dataset=cifar10", *refused])))
    with pytest.raises(ConfigError, match=r"recipe\.validation\.order=file: only the official CIFAR files"):
        sorted_by_class.setup()


def test_svhn(tmp_path, monkeypatch):
    import torchvision

    write_svhn(tmp_path)
    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *a, **k: True)
    monkeypatch.setattr(torchvision.datasets.SVHN, "download", lambda self: None)
    monkeypatch.setattr("torchvision.datasets.svhn.calculate_md5", lambda *a, **k: "", raising=False)
    data = loaded("dataset=svhn", f"dataset.root={tmp_path}")
    assert data.train.images.shape == (30, 3, 32, 32)
    assert data.train.labels.unique().tolist() == list(range(10))


def test_imagenet_layout(tmp_path):
    root = tree(tmp_path, each=4, size=(50, 40), splits=("train", "val"), suffix="jpg")
    overrides = ["dataset=imagenet", f"dataset.root={root}", "dataset.classes=3", "dataset.image_size=24"]
    overrides += ["machine.workers=0", "recipe.batch_size=4", "recipe.validation.images=3"]
    crop = "+recipe.augment.resized_crop={scale: [0.08, 1.0]}"
    data = make_datamodule(check(config([*overrides, crop])))
    data.setup()
    assert (len(data.train), len(data.val), len(data.test)) == (9, 3, 12)
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    assert [len(y) for _, y in batches] == [4, 4]  # the ninth image alone has no batch statistics
    assert all(x.shape[1:] == (3, 24, 24) and x.dtype == torch.float32 for x, _ in batches)
    again = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(batches, again, strict=True))
    tested = torch.cat([data.on_after_batch_transfer(b, 0)[1] for b in data.test_dataloader()])
    assert tested.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    with pytest.raises(ConfigError, match=r"dataset\.classes=1000: .* has 3 class folders"):
        loaded("dataset=imagenet", f"dataset.root={root}", "recipe.batch_size=4")


def test_a_truncated_image_is_one_message_from_a_worker_too(tmp_path):
    from attnlab.configuration.explain import explain

    root = tree(tmp_path, each=4, size=(50, 40), splits=("train", "val"), suffix="jpg")
    victim = root / "val" / "bird" / "001.jpg"
    victim.write_bytes(victim.read_bytes()[:300])
    overrides = ["dataset=imagenet", f"dataset.root={root}", "dataset.classes=3", "dataset.image_size=24"]
    data = make_datamodule(check(config([*overrides, "machine.workers=1", "recipe.validation.images=0"])))
    data.setup()
    with pytest.raises(DataError) as caught:
        list(data.test_dataloader())
    assert explain(caught.value).startswith("dataset.root: bird/001.jpg cannot be read as an image")
    assert "\n" not in explain(caught.value)


def test_equal_names_and_sizes_are_not_equal_folders(tmp_path):
    from attnlab.configuration.identity import run_id

    one, two = tree(tmp_path / "a", suffix="bmp", seed=0), tree(tmp_path / "b", suffix="bmp", seed=1)
    sizes = [sorted(p.stat().st_size for p in root.rglob("*.bmp")) for root in (one, two)]
    assert sizes[0] == sizes[1]
    asked = [["dataset=folder", f"dataset.root={root}"] for root in (one, two)]
    assert run_id(check(config(asked[0]))) != run_id(check(config(asked[1])))
    assert loaded(*asked[0]).data_hash != loaded(*asked[1]).data_hash


def test_images_follow_the_trainer_to_its_device():

    data = make_datamodule(
        check(config(["dataset.train_size=60", "dataset.test_size=20", "recipe.validation.images=10"]))
    )
    data.setup()
    assert data.train.images.device.type == "cpu"
    data.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("meta")))
    data.setup("fit")
    assert {split.images.device.type for split in (data.train, data.val, data.test)} == {"meta"}


def test_random_boxes_have_the_asked_areas_and_aspects():
    from attnlab.data.crops import random_box

    shapes = []
    for seed in range(500):
        left, top, right, bottom = random_box(200, 100, {"scale": [0.2, 0.5]}, seed)
        assert 0 <= left < right <= 200
        assert 0 <= top < bottom <= 100
        shapes.append(((right - left) * (bottom - top) / 20_000, (right - left) / (bottom - top)))
    areas, aspects = np.array(shapes).T
    assert 0.19 < areas.min() < 0.23 < 0.46 < areas.max() < 0.51
    assert 0.74 < aspects.min() < 0.8
    assert 1.25 < aspects.max() < 1.35


def test_the_embedded_set_is_cached_and_balanced(tmp_path):
    asked = ["dataset.train_size=60", "dataset.test_size=20", f"dataset.cache={tmp_path}"]
    a, b = loaded(*asked), loaded(*asked)
    assert len(list(tmp_path.glob("cluttered_digits-*.pt"))) == 1
    assert a.data_hash == b.data_hash
    assert torch.bincount(a.train.labels).tolist() == [6] * 10
    assert a.test.masks.shape == (20, 32, 32)
    assert loaded(*asked, "dataset.seed=1").data_hash != a.data_hash


def test_too_many_validation_images():
    with pytest.raises(ConfigError, match=r"recipe\.validation\.images=60; allowed is 0 to 50"):
        make_datamodule(check(config(["dataset.train_size=60", "recipe.validation.images=60"]))).setup()
