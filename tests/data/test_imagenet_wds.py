"""ImageNet as tar shards: every image once, the same batches on any machine, the folder's pixels; damage has a name."""

import io
import subprocess
import sys
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import webdataset
from PIL import Image

from attnlab.configuration.compose import check, config
from attnlab.configuration.identity import run_id
from attnlab.data.build import make_datamodule
from attnlab.data.lanes import lane_order
from attnlab.errors import ConfigError, DataError
from attnlab.evaluate import evaluate

SHARDS = {"train-000000": 11, "train-000001": 5, "train-000002": 9, "val-000000": 6, "val-000001": 1}
MODES = {3: "L", 4: "CMYK"}


def samples(folder, classes=3):
    """The folder's layout too: FOLDER/tree/<split>/<class>/<image>, the same bytes."""
    draw, number = np.random.default_rng(0), 0
    for name, count in SHARDS.items():
        with webdataset.TarWriter(str(folder / f"{name}.tar")) as sink:
            for i in range(count):
                data, label = io.BytesIO(), number % classes
                pixels = draw.integers(0, 256, (5, 6, 3), dtype=np.uint8)
                picture = Image.fromarray(pixels).resize((40 + number, 50), Image.Resampling.BICUBIC)
                picture.convert(MODES.get(i, "RGB")).save(data, "PNG" if i == 2 else "JPEG")
                ending = "png" if i == 2 else "jpg"
                sink.write({"__key__": f"n{number:04d}", ending: data.getvalue(), "cls": label, "json": {"label": 9}})
                tree = folder / "tree" / name.split("-")[0] / f"c{label}"
                tree.mkdir(parents=True, exist_ok=True)
                (tree / f"n{number:04d}.{ending}").write_bytes(data.getvalue())
                number += 1
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return samples(tmp_path_factory.mktemp("shards"))


def asked(root, *more, held=4):
    return [
        "dataset=imagenet_wds", f"dataset.root='{root}'", "dataset.classes=3", "dataset.image_size=32",
        "dataset.lanes=6", "dataset.shuffle=12", "recipe.batch_size=8", "machine.workers=0",
        f"recipe.validation.images={held}", "+recipe.augment.resized_crop={scale: [0.3, 1.0]}", *more,
    ]  # fmt: skip


@cache
def checked(*overrides):
    return check(config(overrides))


def loaded(root, *more, rank=0, world=1, epoch=0, held=4):
    data = make_datamodule(checked(*asked(root, *more, held=held)))
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world, current_epoch=epoch)
    data.setup()
    return data


def marks(images):
    """Something of each image, by which it is known again."""
    return [tuple(image.flatten()[::97].tolist()) for image in images]


def both(batches):
    batches = list(batches)
    return torch.cat([b[0] for b in batches]), torch.cat([b[1] for b in batches]), torch.cat([b[2] for b in batches])


def test_counts_and_labels(root):
    data = loaded(root)
    assert (len(data.train), len(data.val), len(data.test)) == (21, 4, 7)
    assert sorted(data.val.labels) in ([0, 0, 1, 2], [0, 1, 1, 2], [0, 1, 2, 2])
    _, labels, draws = both(data.test_dataloader())
    assert sorted(labels.tolist()) == sorted(data.test.labels)
    assert draws.numel() == 0
    x, _ = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert x.shape == (8, 3, 32, 32)


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_once_and_equally_many_batches(root, split, world, workers):
    whole, seen, steps = loaded(root), [], set()
    there = marks(whole.files(split)[i, ()][0] for i in range(len(getattr(whole, split))))
    for rank in range(world):
        data = loaded(root, f"machine.workers={workers}", rank=rank, world=world)
        loader = data.evaluation_dataloader(split)
        batches = list(loader)
        steps.add(len(batches))
        assert len(loader) == len(batches)
        seen += [mark for batch in batches for mark in marks(batch[0])]
    assert len(steps) == 1
    assert len(set(there)) == len(there)
    assert sorted(seen) == sorted(there)


def test_neither_ranks_nor_workers_change_a_global_batch(root):
    alone = list(loaded(root, epoch=3).train_dataloader())
    assert [len(batch[1]) for batch in alone] == [8, 8, 5]
    for world, workers in ((1, 2), (2, 0), (3, 0), (2, 2)):
        ranks = [loaded(root, f"machine.workers={workers}", rank=r, world=world, epoch=3) for r in range(world)]
        loaders = [list(data.train_dataloader()) for data in ranks]
        assert {len(batches) for batches in loaders} == {2 if world == 3 else 3}  # 5 images are not two a rank
        for step, parts in enumerate(zip(*loaders, strict=True)):
            sizes = [len(part[1]) for part in parts]
            assert max(sizes) - min(sizes) <= 1
            for kind in range(3):
                expected = alone[step][kind]
                whole = torch.empty_like(expected)
                for rank, part in enumerate(parts):
                    whole[(rank - 8 * step) % world :: world] = part[kind]
                assert torch.equal(whole, expected)


def test_the_smaller_last_batch_can_be_left_out(root):
    """In shards as in a tree; every pass leaves its own out."""
    tree = [part for part in asked(root / "tree") if "lanes" not in part and "shuffle" not in part]
    for asking in (asked(root), [*tree, "dataset=imagenet"]):
        for drop, sizes in (("null", [8, 8, 5] * 2), ("true", [8, 8] * 2)):
            data = make_datamodule(checked(*asking, f"+recipe.drop_last={drop}", "+recipe.passes_per_epoch=2"))
            data.trainer = SimpleNamespace(global_rank=0, world_size=1, current_epoch=0)
            data.setup()
            loader = data.train_dataloader()
            assert [len(batch[1]) for batch in loader] == sizes
            assert len(loader) == len(sizes)


def test_epochs_differ_and_repeat_and_passes_count_on(root):
    first, again, other = (both(loaded(root, epoch=e).train_dataloader()) for e in (0, 0, 1))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[1], other[1]) or not torch.equal(first[0], other[0])
    twice = both(loaded(root, "+recipe.passes_per_epoch=2", epoch=0).train_dataloader())
    assert torch.equal(twice[0], torch.cat([first[0], other[0]]))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_goes_on_within_an_epoch(root, workers):
    data = loaded(root, f"machine.workers={workers}", "+recipe.passes_per_epoch=2")
    loader = data.train_dataloader()
    whole = list(loader)
    for done in (1, 2, 3, 5):
        data.batches_done = done
        next(iter(data.evaluation_dataloader("test")))  # of training batches, not of these
        rest = list(loader)
        assert len(rest) == len(whole) - done
        for found, expected in zip(rest, whole[done:], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert len(list(loader)) == len(whole)


def test_shards_are_read_forwards_block_by_block():
    shards = torch.arange(7).repeat_interleave(torch.tensor([300, 10, 120, 1, 400, 90, 79]))
    order = lane_order(shards, lanes=8, shuffle=80, seed=1, epoch=2)
    assert torch.equal(order.images().sort().values, torch.arange(1000))
    assert (order.at - torch.arange(1000)).abs().max() < 10  # a block: 80 / 8
    of = shards[order.read]
    assert len(of.unique_consecutive()) == 7  # one shard after the other
    assert not torch.equal(of.unique_consecutive(), torch.arange(7))
    assert not torch.equal(order.images(), lane_order(shards, 8, 80, 1, 3).images())
    steps = [len(set(range(p, p + 8)) & set(order.end.tolist())) for p in range(0, 125, 8)]
    assert sum(steps) > 0


def test_the_pixels_are_the_folders(root):
    tree = ["dataset=imagenet", f"dataset.root={root / 'tree'}", "dataset.classes=3", "dataset.image_size=32"]
    folder = make_datamodule(check(config([*tree, "recipe.validation.images=0", "machine.workers=0"])))
    folder.setup()
    data = loaded(root, held=0)
    for split in ("train", "test"):
        theirs, ours = folder.files(split), data.files(split)
        places = {name.rpartition("/")[2]: i for i, name in enumerate(ours.shards.names())}
        assert len(theirs) == len(ours)
        for number, path in enumerate(theirs.paths):
            place = places[path.rpartition("/")[2]]
            a, b = theirs[number, ()], ours[place, ()]
            assert torch.equal(a[0], b[0])
            assert a[1] == b[1]
            theirs.crops.resized_crop = ours.crops.resized_crop = {"scale": [0.3, 1.0]}
            drawn = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
            assert torch.equal(theirs[number, drawn][0], ours[place, drawn][0])
            theirs.crops.resized_crop = ours.crops.resized_crop = None


def test_other_shards_are_another_dataset(root, tmp_path):
    """But ImageNet itself, of 1,000 classes, is one wherever it lies and however it is cut."""
    other = samples(tmp_path)
    (other / "train-000000.tar").write_bytes(b"")
    assert len({run_id(check(config(asked(where)))) for where in (root, other)}) == 2
    urls = [
        f'"https://{host}/train-{{0..3}}.tar::https://{host}/val-{{0..{n}}}.tar"'
        for host, n in (("a", 1), ("b", 1), ("a", 2))
    ]
    ids = [run_id(check(config([*asked(""), f"dataset.root={url}"]))) for url in urls]
    assert (ids[0] == ids[1], ids[0] == ids[2]) == (True, False)
    assert len({run_id(check(config([*asked(where), "dataset.classes=1000"]))) for where in (root, other)}) == 1
    for name in ("a", "b"):
        for split in ("train", "val"):
            (tmp_path / "trees" / name / split / "cat").mkdir(parents=True)
            (tmp_path / "trees" / name / split / "cat" / f"{name}.jpg").write_bytes(b"")
    trees = ["dataset=imagenet", "dataset.classes=2"]
    assert len({run_id(check(config([*trees, f"dataset.root={tmp_path / 'trees' / name}"]))) for name in "ab"}) == 2


def test_the_id_knows_no_place_and_the_data_are_known_again(root, tmp_path, monkeypatch):
    other = samples(tmp_path)
    ids = [run_id(check(config(asked(where, f"dataset.cache={cache}"))))
           for where, cache in ((root, "null"), (other, "null"), (root, tmp_path))]  # fmt: skip
    assert len(set(ids)) == 1
    first = loaded(root)
    assert first.data_hash == loaded(other).data_hash
    monkeypatch.setenv("ATTNLAB_TRUST", "pipe")
    names = ("train-{000000..000002}", "val-{000000..000001}")
    local = loaded("::".join(f"{root}/{name}.tar" for name in names))
    piped = loaded("::".join(f"pipe:cat {root}/{name}.tar" for name in names), "dataset.shuffle=12")
    for data in (local, piped):
        assert data.data_hash == first.data_hash
        assert torch.equal(both(data.train_dataloader())[0], both(first.train_dataloader())[0])
    with pytest.raises(DataError, match="single images are asked for; allowed is a folder"):
        piped.files("test")
    monkeypatch.delenv("ATTNLAB_TRUST")
    with pytest.raises(ConfigError, match="runs a command; allowed with ATTNLAB_TRUST=pipe"):
        loaded(f"pipe:touch {tmp_path}/ran train.tar")
    assert not (tmp_path / "ran").exists()


def test_what_is_in_the_shards_is_found_out_once(root, tmp_path, capsys):
    for expected in (2, 0):
        loaded(root, f"dataset.cache={tmp_path}")
        assert capsys.readouterr().out.count("their images are counted, once") == expected


@pytest.mark.slow
def test_two_processes_train_on_shards(root, tmp_path):
    """Gloo, on the CPU; and what they learnt is evaluated on the held-out images."""
    command = [sys.executable, "-m", "attnlab.run", *asked(root, "dataset.image_size=64", "model=timm")]
    command += ["model.name=resnet18", "recipe.epochs=1", "machine.threads=1", f"output_dir={tmp_path}", "tracker=csv"]
    command += ["machine.accelerator=cpu", "machine.devices=2", "machine.workers=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished, test error") == 1
    (record,) = tmp_path.glob("*/result.json")
    same = [o for o in command[3:] if o.startswith(("dataset", "output_dir", "machine.acc", "machine.work"))]
    scores = evaluate([f"run={record.parent.name}", "split=val", *same])
    assert scores["data_hash"] == loaded(root).data_hash
