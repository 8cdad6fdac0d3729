"""dataset=huggingface: the pictures, order and batches of the same images in a folder, however they are stored."""

import io
import shutil
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import attnlab
from attnlab.configuration import picture_table
from attnlab.configuration.compose import check, config
from attnlab.configuration.explain import explain
from attnlab.configuration.identity import run_id
from attnlab.configuration.names import name_of
from attnlab.data.base import Images
from attnlab.data.build import make_datamodule
from attnlab.data.subset import sample
from attnlab.errors import AttnlabError, ConfigError, DataError
from attnlab.evaluate import evaluate
from attnlab.evaluation.finished_run import read_run_data

datasets = pytest.importorskip("datasets")

NAMES = ["ant", "bee", "cat"]
SPLITS = {"train": 21, "val": 9}
SIZE = 24


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("hf")
    datasets.disable_progress_bars()
    yield
    datasets.config.HF_DATASETS_CACHE = before


def pictures(split):
    """(JPEG, label) of each picture, sorted by class as a folder is."""
    draw = np.random.default_rng(len(split))
    for i in range(SPLITS[split]):
        data, pixels = io.BytesIO(), draw.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40 + i, 50), Image.Resampling.BICUBIC).save(data, "JPEG")
        yield data.getvalue(), i * len(NAMES) // SPLITS[split]


def table(split, label=None, **more):
    rows = list(pictures(split))
    kinds = {"image": datasets.Image(), "label": label or datasets.ClassLabel(names=NAMES)}
    columns = {"image": [{"bytes": data, "path": None} for data, _ in rows], "label": [y for _, y in rows]}
    for name, kind in more.items():
        kinds[name], columns[name] = kind, [0] * len(rows)
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))


def as_parquet(root, names=("train", "validation"), **settings):
    root.mkdir(parents=True, exist_ok=True)
    for split, name in zip(SPLITS, names, strict=True):
        found = table(split, **settings)
        for shard in range(2):
            found.shard(2, shard, contiguous=True).to_parquet(root / f"{name}-{shard:05d}-of-00002.parquet")
    return root


def as_arrow(root):
    datasets.DatasetDict({"train": table("train"), "validation": table("val")}).save_to_disk(root)
    return root


def as_tars(root):
    root.mkdir()
    for split in SPLITS:
        with tarfile.open(root / f"{split}-000000.tar", "w") as sink:
            for i, (data, label) in enumerate(pictures(split)):
                for ending, content in (("jpg", data), ("cls", str(label).encode())):
                    info = tarfile.TarInfo(f"n{i:04d}.{ending}")
                    info.size = len(content)
                    sink.addfile(info, io.BytesIO(content))
    return root


def as_tree(root):
    for split in SPLITS:
        for i, (data, label) in enumerate(pictures(split)):
            folder = root / split / NAMES[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"n{i:04d}.jpg").write_bytes(data)
    return root


STORED = {"parquet": as_parquet, "arrow": as_arrow, "tars": as_tars}


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    return as_parquet(tmp_path_factory.mktemp("parquet") / "set")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return as_tree(tmp_path_factory.mktemp("tree"))


def asked(root, *more, dataset="huggingface"):
    return [
        f"dataset={dataset}", f"dataset.root={root}", f"dataset.image_size={SIZE}", "recipe.batch_size=4",
        "machine.workers=0", "recipe.validation.images=6", *more,
    ]  # fmt: skip


def checked(*overrides):
    return check(config(list(overrides)))


def loaded(root, *more, **settings):
    data = make_datamodule(checked(*asked(root, *more, **settings)))
    data.setup()
    return data


def batches(data, loader):
    return [data.on_after_batch_transfer(batch, 0) for batch in loader]


def equal(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_batches_are_those_of_the_same_images_in_a_folder(tmp_path, tree, kind, in_memory):
    """Order, held-out images, augmentation and pixels, in training and in evaluation."""
    ours = loaded(STORED[kind](tmp_path / "set"), f"dataset.in_memory={in_memory}")
    theirs = loaded(tree, "dataset.classes=3", dataset="imagenet")
    assert isinstance(ours.train, Images) == (in_memory == "true")
    assert (len(ours.train), len(ours.val), len(ours.test)) == (15, 6, 9)
    assert equal(batches(ours, ours.train_dataloader()), batches(theirs, theirs.train_dataloader()))
    for split in ("train", "val", "test"):
        found = batches(ours, ours.evaluation_dataloader(split))
        assert equal(found, batches(theirs, theirs.evaluation_dataloader(split)))
        assert torch.equal(sample(ours, split, 5).images, sample(theirs, split, 5).images)
    assert torch.equal(ours.test_order(), theirs.test_order())
    assert ours.names == (None if kind == "tars" else NAMES)
    assert ours.duplicates == theirs.duplicates


def test_random_boxes_two_workers_and_a_resumed_epoch(tree, parquet):
    crop = "+recipe.augment.resized_crop={scale: [0.3, 1.0]}"
    ours, theirs = (
        loaded(parquet, crop, "machine.workers=2"),
        loaded(tree, crop, "dataset.classes=3", dataset="imagenet"),
    )
    assert not isinstance(ours.train, Images)
    loader = ours.train_dataloader()
    expected = batches(theirs, theirs.train_dataloader())
    assert equal(batches(ours, loader), expected)
    for data in (ours, loaded(parquet, crop)):
        data.batches_done = 2
        assert equal(batches(data, loader if data is ours else data.train_dataloader()), expected[2:])
    with pytest.raises(
        ConfigError, match=r"^wrong value dataset\.in_memory=true with recipe\.augment\.resized_crop; allowed"
    ):
        loaded(parquet, crop, "dataset.in_memory=true")


def test_pictures_in_memory_resume_within_an_epoch_and_are_cached(tree, parquet, tmp_path):
    ours = loaded(parquet, f"dataset.cache={tmp_path}")
    theirs = loaded(tree, "dataset.classes=3", dataset="imagenet")
    ours.batches_done = 1
    assert equal(batches(ours, ours.train_dataloader()), batches(theirs, theirs.train_dataloader())[1:])
    assert len(list(tmp_path.glob("huggingface-*.pt"))) == 1
    again = loaded(parquet, f"dataset.cache={tmp_path}", "dataset.seed=1")
    assert len(list(tmp_path.glob("huggingface-*.pt"))) == 1
    assert not torch.equal(again.val.images, ours.val.images)


def test_the_id_depends_on_the_pictures_and_not_on_where_they_are(parquet, tmp_path, monkeypatch):
    usual = run_id(checked(*asked(parquet)))
    one_file = tmp_path / "one file"
    one_file.mkdir()
    for split, name in (("train", "train"), ("val", "validation")):
        table(split).to_parquet(one_file / f"{name}.parquet")
    picture_table._read.cache_clear()
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "other cache")
    for root in (one_file, shutil.copytree(parquet, tmp_path / "copy"), as_arrow(tmp_path / "arrow")):
        assert run_id(checked(*asked(f"'{root}'"))) == usual
    assert run_id(checked(*asked(parquet, "dataset.in_memory=false"))) == usual
    monkeypatch.setitem(SPLITS, "val", 8)
    other = as_parquet(tmp_path / "other")
    assert run_id(checked(*asked(other))) != usual
    values = checked(*asked(other))
    assert name_of("dataset", values["dataset"], values).startswith("huggingface image_size=24 listing=")
    values["dataset"]["root"] = str(parquet)
    with pytest.raises(DataError, match=r"holds other pictures \(listing \w+\) than the config was made for"):
        make_datamodule(values).setup()


def test_of_a_large_set_every_kth_picture_is_read(parquet, monkeypatch):
    values = checked(*asked(parquet))
    train, test = picture_table.read_tables(values["dataset"])
    found, digests = picture_table.contents(train, test)
    assert found == values["dataset"]["listing"]
    assert len(digests) == 30
    assert train.size() == sum(len(data) for data, _ in pictures("train"))
    picture_table.contents.cache_clear()
    monkeypatch.setattr(picture_table, "MOST_READ", 5000)
    large, digests = picture_table.contents(train, test)
    assert digests is None
    assert large != found
    picture_table.contents.cache_clear()


def test_pictures_that_a_table_only_points_to(tmp_path, tree):
    """As of hub sets that are folders of images: the table holds paths."""
    shutil.copytree(tree, tmp_path / "set")
    ours, theirs = loaded(tmp_path / "set"), loaded(tree, "dataset.classes=3", dataset="imagenet")
    assert equal(batches(ours, ours.test_dataloader()), batches(theirs, theirs.test_dataloader()))
    assert ours.names == NAMES


def test_trained_resumed_evaluated_and_found_again(parquet, tmp_path):
    """Two epochs end to end: a run that was interrupted after one gives the record of one that was not."""
    small = asked(
        parquet, "model=resnet8", "recipe.epochs=2", "tracker=csv", "dataset.centre=1", "machine.threads=1",
        "machine.checkpoint_minutes=0", f"output_dir={tmp_path / 'a'}",
    )  # fmt: skip
    whole = attnlab.train(config(small))
    other = [*small[:-1], f"output_dir={tmp_path / 'b'}"]
    from attnlab.data.huggingface import HuggingFace

    with pytest.MonkeyPatch.context() as patched:
        plan = HuggingFace.training_plan

        def interrupted(self, count, number):
            if self.trainer is not None and self.trainer.current_epoch == 1:
                raise KeyboardInterrupt
            return plan(self, count, number)

        patched.setattr(HuggingFace, "training_plan", interrupted)
        with pytest.raises(KeyboardInterrupt):
            attnlab.train(config(other))
    resumed = attnlab.train(config(other))
    assert resumed["id"] == whole["id"]
    assert resumed["metrics"] == whole["metrics"]
    assert resumed["weights"] == whole["weights"]
    assert whole["data_hash"] == whole["config"]["dataset"]["listing"]
    assert attnlab.load_predictions(whole["id"], tmp_path / "a").name(2) == "cat"
    source = read_run_data(whole["id"], tmp_path / "a", whole["config"]["machine"], [small[1]])
    assert source.data.data_hash == whole["data_hash"]
    scores = evaluate([f"run={whole['id']}", *small[:3], small[-1], "dataset.centre=1", "machine.threads=1"])
    assert scores["top1_error"] == pytest.approx(whole["metrics"]["test/top1_error"])


def test_columns_and_splits_are_found_or_named(tmp_path):
    integer = datasets.Value("int64")
    root = as_parquet(tmp_path / "two", ("train", "test"), coarse=datasets.ClassLabel(names=["x"]))
    message = r"^dataset\.label_column: must be given; columns of class labels or integers are label, coarse$"
    with pytest.raises(ConfigError, match=message):
        checked(*asked(root))
    assert loaded(root, "dataset.label_column=label").names == NAMES
    numbered = loaded(as_parquet(tmp_path / "numbered", label=integer), "dataset.test_split=validation")
    assert numbered.names is None
    assert numbered.classes == 3


def write(root, change):
    """Parquet files of the set, each table changed."""
    root.mkdir()
    for split in SPLITS:
        change(table(split)).to_parquet(root / f"{split}.parquet")
    return root


def no_labels(found):
    unknown = [-1] * len(found)
    return found.remove_columns("label").add_column("label", unknown)


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (None, ["dataset.train_split=a"], r"dataset\.train_split=a: no such split; allowed are train, validation"),
        (None, ["dataset.test_split=a"], r"dataset\.test_split=a: no such split; allowed are validation"),
        (None, ["dataset.test_split=train"], r"dataset\.test_split=train: no such split; allowed are validation"),
        (None, ["dataset.image_column=a"], r"dataset\.image_column=a: no such column; columns of pictures are image"),
        (
            None,
            ["dataset.label_column=a"],
            r"dataset\.label_column=a: no such column; columns of class labels",
        ),
        (None, ["dataset.classes=4"], r"dataset\.classes=4: split train has 3 classes"),
        (None, ["dataset.subset=a"], r"dataset\.root=.*: cannot be loaded \(BuilderConfig 'a' not found"),
        (
            lambda t: t.remove_columns("image"),
            [],
            r"dataset\.image_column: must be given; columns of pictures are",
        ),
        (
            lambda t: t.cast_column("label", datasets.Value("string")),
            [],
            r"dataset\.label_column: must be given; columns of class labels or integers are none",
        ),
        (no_labels, [], r"dataset\.test_split: must be given, no split named .* has labels; allowed are validation"),
        (no_labels, ["dataset.test_split=validation"], r"dataset\.root=.*: split train has pictures without a label"),
    ],
)
def test_what_does_not_fit_is_one_message(tmp_path, change, more, message):
    root = write(tmp_path / "set", change or (lambda found: found))
    with pytest.raises(AttnlabError, match=f"^{message}") as caught:
        loaded(root, *more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([], r"dataset\.name: must be given, a set of the hub, as dataset\.name=ILSVRC/imagenet-1k; or a folder"),
        (
            ["dataset.root=/no/such/folder"],
            r"dataset\.root=/no/such/folder: is no folder; a set of the hub is given",
        ),
        (["dataset.root='https://a/b.tar'"], r"dataset\.root=https://a/b\.tar: is a stream of unknown length; allowed"),
        (["dataset.name=conf"], r"dataset\.name=conf: is a folder here; a folder is given by dataset\.root"),
        (
            ["dataset.name=ILSVRC/imagenet-1k"],
            r"dataset\.name=ILSVRC/imagenet-1k: is not in the cache, and the hub cannot be reached; dataset\.root=DIR",
        ),
    ],
)
def test_sets_that_are_not_there(dataset, message):
    with pytest.raises(AttnlabError, match=f"^{message}") as caught:
        checked("dataset=huggingface", *dataset)
    assert "\n" not in str(caught.value)


def test_a_gated_set_is_one_message_without_the_token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijk")

    def gated(*args, **kwargs):
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' is a gated dataset on the Hub.\nhf_abcdefghijk")

    monkeypatch.setattr("datasets.load_dataset", gated)
    with pytest.raises(DataError) as caught:
        picture_table._load("a/b", "a/b", None, None)
    assert str(caught.value).startswith("dataset.name=a/b: is gated; accept its terms on the hub, then log in by")
    assert "hf_abcdefghijk" not in str(caught.value)


def test_a_missing_package_and_the_removed_reader_are_one_message(monkeypatch, parquet):
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    picture_table._read.cache_clear()
    with pytest.raises(ConfigError, match=r"^dataset=huggingface: needs the package datasets \(attnlab\[hf\]\)$"):
        checked(*asked(parquet))
    with pytest.raises(ConfigError, match=r"^removed choice dataset=imagenet_wds; use dataset=huggingface"):
        checked("dataset=imagenet_wds")


def test_a_damaged_picture_is_named(tmp_path):
    def damage(found):
        rows = found.cast_column("image", datasets.Image(decode=False)).to_list()
        rows[3]["image"]["bytes"] = rows[3]["image"]["bytes"][:200]
        return datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())

    root = write(tmp_path / "set", damage)
    data = loaded(root, "dataset.in_memory=false", "dataset.label_column=label", "machine.workers=1")
    with pytest.raises(DataError) as caught:
        list(data.test_dataloader())
    assert explain(caught.value).startswith("dataset.root: row 3 of split validation cannot be read as an image")


@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_two_ranks_share_the_batches_of_one(parquet, in_memory):
    one, ranks = loaded(parquet, f"dataset.in_memory={in_memory}"), []
    one.trainer = SimpleNamespace(global_rank=0, world_size=1, current_epoch=3)
    for rank in range(2):
        data = loaded(parquet, f"dataset.in_memory={in_memory}")
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, current_epoch=3)
        ranks.append(data)
    shared = [batches(data, data.train_dataloader()) for data in ranks]
    joined = [[torch.cat(part) for part in zip(*parts, strict=True)] for parts in zip(*shared, strict=True)]
    assert equal(joined, batches(one, one.train_dataloader())[: len(joined)])
    tested = torch.cat([data.test_order() for data in ranks])
    assert torch.equal(tested.sort().values, torch.arange(9))
    labels = torch.cat([y for data in ranks for _, y in batches(data, data.test_dataloader())])
    assert torch.equal(labels, one.labels("test")[tested])
