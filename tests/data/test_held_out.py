"""What is held out: by dataset.seed, by the run's seed, or the last of the files; and when start_from warns of it."""

from itertools import product

import numpy as np
import pytest
import torch
from official import write_cifar
from test_imagenet_wds import asked, samples
from test_sources import tree

from attnlab.configuration.compose import check, config, plain
from attnlab.configuration.identity import run_id
from attnlab.data.build import make_datamodule
from attnlab.errors import ConfigError
from attnlab.models.warm_start import _leak

BY_RUN = "recipe.validation.seed=run"
KINDS = ("cluttered_digits", "cifar10", "folder", "imagenet", "imagenet_wds")


def small_cifar(root, monkeypatch):
    draw = np.random.default_rng(0)
    images = [draw.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8) for _ in range(6)]
    write_cifar(root, monkeypatch, images, [[int(y) for y in draw.permutation(np.arange(20) % 10)] for _ in range(6)])
    return ["dataset=cifar10", f"dataset.root={root}"]


@pytest.fixture(params=KINDS)
def small(request, tmp_path, monkeypatch):
    """Overrides of a small dataset of each kind that holds 12 images out."""
    held = "recipe.validation.images=12"
    if request.param == "cluttered_digits":
        return ["dataset.train_size=60", "dataset.test_size=20", held]
    if request.param == "cifar10":
        return [*small_cifar(tmp_path, monkeypatch), held]
    if request.param == "imagenet_wds":
        return asked(samples(tmp_path), held=12)
    splits = ("train", "test") if request.param == "folder" else ("train", "val")
    root = tree(tmp_path, each=12, splits=splits)
    size = ["dataset.classes=3", "dataset.image_size=32", "machine.workers=0"] if request.param == "imagenet" else []
    return [f"dataset={request.param}", f"dataset.root={root}", *size, held]


def ready(*overrides):
    data = make_datamodule(check(config([*overrides])))
    data.setup()
    return data


def marks(split):
    """The images of a split, by their bytes, their files, or their places in the shards."""
    if isinstance(split, list):
        return {str(path) for path, _ in split}
    if hasattr(split, "rows"):
        return set(split.rows.tolist())
    return {image.numpy().tobytes() for image in split.images}


def labels(split):
    if isinstance(split, list):
        return torch.tensor([label for _, label in split])
    return torch.as_tensor(split.shards.labels[split.rows] if hasattr(split, "rows") else split.labels)


def test_the_draw_follows_the_runs_seed_where_asked(small):
    """Two seeds hold out different images, stratified; one seed the same ones, whatever the attention."""
    usual = [ready(*small, f"seed={seed}") for seed in (0, 1)]
    assert marks(usual[0].val) == marks(usual[1].val)
    first, second = (ready(*small, BY_RUN, f"seed={seed}") for seed in (1, 2))
    assert marks(first.val) != marks(second.val)
    assert marks(first.val) != marks(usual[1].val)
    for data in (first, second):
        assert len(marks(data.val)) == 12
        assert not marks(data.val) & marks(data.train)
        assert marks(data.val) | marks(data.train) == marks(usual[0].val) | marks(usual[0].train)
        everything = torch.cat([labels(data.val), labels(data.train)])
        share = 12 / len(everything)
        counts = torch.bincount(labels(data.val), minlength=int(everything.max()) + 1)
        assert bool(((counts - share * torch.bincount(everything)).abs() < 1.01).all())
    again = ready(*small, BY_RUN, "seed=1", "attention=se")
    assert marks(again.val) == marks(first.val)
    assert again.data_hash == usual[0].data_hash  # the same images, divided in another way


def test_null_is_no_key_and_old_configs_have_none():
    values = plain(config([]))
    assert values["recipe"]["validation"].pop("seed") is None
    assert run_id(check(values)) == run_id(config([]))
    assert run_id(config([BY_RUN])) != run_id(config([]))
    assert marks(_set_up(values).val) == marks(_set_up(plain(config([]))).val)
    with pytest.raises(ConfigError, match=r"^missing key seed; "):
        check({name: value for name, value in values.items() if name != "seed"})


def _set_up(values):
    data = make_datamodule(values | {"dataset": values["dataset"] | {"train_size": 3000, "test_size": 20}})
    data.setup()
    return data


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [BY_RUN, "recipe.validation.order=file"],
            r"^nothing to draw: recipe\.validation\.seed=run and recipe\.validation\.order=file, ",
        ),
        (["recipe.validation.seed=3"], r"^wrong value recipe\.validation\.seed=3; allowed is run, or null$"),
        (
            ["recipe.validation.seed=dataset"],
            r"^wrong value recipe\.validation\.seed=dataset; allowed is run, or null$",
        ),
    ],
)
def test_what_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        config(["dataset=cifar10", *overrides])


def test_start_from_warns_where_held_out_images_were_trained_on(tmp_path, monkeypatch):
    """Of all pairs of these runs, exactly where the earlier one's training images hold some of the later one's held."""
    source = small_cifar(tmp_path, monkeypatch)
    runs = []
    for draw, images, seed in product(
        ([], ["dataset.seed=1"], [BY_RUN], ["recipe.validation.order=file"]), (0, 20, 30), (0, 1)
    ):
        overrides = [*source, *draw, f"recipe.validation.images={images}", f"seed={seed}"]
        data = ready(*overrides)
        runs.append((overrides, plain(config(overrides)), marks(data.train), marks(data.val)))
    warned = 0
    for (before, theirs, trained_on, _), (now, mine, _, held) in product(runs, runs):
        said = _leak(theirs, mine)
        assert bool(said) == bool(held & trained_on), f"{now} from {before}: {said}"
        assert said in ("", "; it was trained on images that are held out here, so val/top1_error is too low")
        warned += bool(said)
    assert 0 < warned < len(runs) ** 2


def test_start_from_does_not_claim_what_is_not_known():
    """Of other images of the same kind: another draw of the embedded set, another folder."""
    held = "recipe.validation.images=20"
    mine = plain(config([held]))
    for other in ("dataset.seed=1", "dataset.train_size=400", "dataset.background_bias=0.5"):
        said = _leak(plain(config([held, other])), mine)
        assert said == "; its training images may hold some that are held out here: val/top1_error may be too low"
    assert _leak(plain(config([held, "dataset.test_size=100", "dataset.mirror=true"])), mine) == ""
    assert _leak(plain(config(["dataset=cifar10", "recipe.validation.images=0"])), mine) == ""
