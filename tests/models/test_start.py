"""start_from=ID: a run that begins with a finished run's weights."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import attnlab
from attnlab.configuration.compose import check, plain
from attnlab.configuration.identity import run_id, science
from attnlab.data.build import make_datamodule
from attnlab.errors import ConfigError
from attnlab.models.warm_start import start_from
from attnlab.tables.record_groups import tabulate

#: enough to learn its 400 training images by heart
MORE = [
    "recipe.epochs=12",
    "recipe.batch_size=16",
    "recipe.validation.images=0",
    "machine=cpu",
    "machine.precision=32-true",
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("start") / "outputs"


@pytest.fixture
def small(tiny, outputs):
    """As `tiny`, but all tests share one folder of runs."""
    return [*tiny[:-1], *MORE, f"output_dir={outputs}"]


@pytest.fixture
def trained(small):
    """The finished run from which the others start; found recorded by all tests but the first."""
    return attnlab.train(attnlab.config([*small, "attention=none"]))


def begun(*overrides):
    """The net of a config as its training begins, and what was said."""
    cfg = attnlab.config(list(overrides))
    net = attnlab.build(cfg)
    return net.eval(), start_from(net, check(cfg))


def error(net, overrides, split):
    data = make_datamodule(check(attnlab.config(overrides)))
    data.setup()
    batches = [(net(images).argmax(dim=1) != labels) for images, labels in data.evaluation_dataloader(split)]
    return 100 * float(torch.cat(batches).float().mean())


def test_a_trained_net_gets_attention_and_is_trained_on(small, trained, capsys):
    """As identity it begins where the run before ended; otherwise what was learnt is damaged."""
    source = f"start_from={trained['id']}"
    eased, said = begun(*small, source, "attention=se", "attention.start=identity")
    assert said == f"starts from {trained['id']}: its backbone, head; new: attention"
    folder = small[-1].partition("=")[2]
    x = torch.randn(8, 3, 32, 32)
    assert torch.equal(eased(x), attnlab.load(trained["id"], folder)(x))
    assert error(eased, small, "test") == pytest.approx(trained["metrics"]["test/top1_error"], abs=1e-4)
    learnt = error(eased, small, "train")
    assert learnt < 30  # chance: 90
    plainly, _ = begun(*small, source, "attention=se")
    assert error(plainly, small, "train") > learnt + 20
    overrides = [*small, source, "attention=se", "attention.start=identity", "recipe.epochs=4"]
    capsys.readouterr()
    record = attnlab.train(attnlab.config(overrides))
    assert f"({record['id']}): {said}\n" in capsys.readouterr().out
    assert record["config"]["start_from"] == trained["id"]
    trained_on = attnlab.load(record["id"], folder)
    assert error(trained_on, small, "train") < learnt + 5
    amounts = [float(value) for name, value in trained_on.state_dict().items() if name.endswith(".amount")]
    assert len(amounts) == 3
    assert all(amounts)
    scratch = attnlab.train(attnlab.config([o for o in overrides if o != source]))
    assert scratch["id"] != record["id"]
    assert error(attnlab.load(scratch["id"], folder), small, "train") > learnt + 20
    tables = tabulate([trained, record, scratch])  # never in one table: another start, another recipe
    assert sorted(f"start_from={trained['id']}" in table.grid.table["title"] for table in tables) == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], ": its backbone, head"),
        (["head=ltpa"], ": its backbone; new: head"),
        (["attention=bam"], ": its backbone, head; new: attention"),
        (["seed=1"], ": its backbone, head"),
        (
            ["recipe.validation.images=50"],
            ": its backbone, head; it was trained on images that are held out here, so val/",
        ),
        (["dataset=cifar10", "recipe.validation.images=50"], ": its backbone, head"),
        (["dataset=cifar100"], ": its backbone; new: head"),
    ],
)
def test_what_is_taken(small, trained, overrides, said):
    here = [o for o in small if not (o.startswith("dataset.") and "dataset=" in " ".join(overrides))]
    net, found = begun(*here, f"start_from={trained['id']}", *overrides)
    assert found.startswith(f"starts from {trained['id']}")
    assert said in found
    assert ("held out" in found) == ("held out" in said)
    assert ("new" in found) == ("new" in said)
    source = attnlab.load(trained["id"], small[-1].partition("=")[2]).state_dict()
    fresh = attnlab.build(attnlab.config([*here, *overrides])).state_dict()
    taken = [key for key in source if key.startswith("backbone.") or "head" in said.partition("new")[0]]
    assert all(torch.equal(net.state_dict()[key], source[key]) for key in taken)
    assert all(torch.equal(net.state_dict()[key], fresh[key]) for key in fresh if key not in taken)


def test_attention_is_taken_where_it_is_the_same(small, trained):
    """Not by the names and shapes of its tensors: those of ISE are SE's, of another meaning."""
    small = [*small, "recipe.validation.images=100"]
    se = attnlab.train(attnlab.config([*small, "attention=se", "recipe.steps=2"]))
    source = attnlab.load(se["id"], small[-2].partition("=")[2]).state_dict()
    key = "backbone.stage1.0.at_branch.score.excite.reduce.weight"
    for attention, expected in (("se", "its backbone, attention, head"), ("ise", "its backbone, head; new: attention")):
        net, said = begun(*small, f"attention={attention}", f"start_from={se['id']}")
        assert said == f"starts from {se['id']}: {expected}"
        assert torch.equal(net.state_dict()[key], source[key]) == (attention == "se")
    assert begun(*small, f"start_from={se['id']}")[1].endswith("its backbone, head")  # without attention
    # that run: 100 images, drawn by dataset.seed=0, whatever its own seed
    for draw, leaks in (
        ("order=seed", False), ("order=file", True), ("images=0", False), ("images=50", False), ("images=150", True),
        ("seed=run", True),
    ):  # fmt: skip
        said = begun(*small, f"start_from={se['id']}", "seed=1", f"recipe.validation.{draw}")[1]
        assert ("; it was trained on images that are held out here" in said) == leaks
    assert "held out" not in begun(*small, f"start_from={se['id']}", "recipe.validation.seed=run")[1]  # seed 0 as well
    assert "may hold some that are held out" in begun(*small, f"start_from={se['id']}", "dataset.seed=1")[1]


def test_a_twin_takes_over_no_attention(small, trained):
    """Its attention is drawn anew, so that it is another net than the run it starts from."""
    small = [*small, "recipe.validation.images=100"]
    se = attnlab.train(attnlab.config([*small, "attention=se", "recipe.steps=2"]))
    twin, said = begun(*small, "attention=se", "attention.draw=1", f"start_from={se['id']}")
    assert said == f"starts from {se['id']}: its backbone, head; new: attention"
    fresh = attnlab.build(attnlab.config([*small, "attention=se", "attention.draw=1"])).state_dict()
    key = "backbone.stage1.0.at_branch.score.excite.reduce.weight"
    assert torch.equal(twin.state_dict()[key], fresh[key])


def test_it_is_part_of_the_science_and_null_is_not(small, trained):
    values = plain(attnlab.config(small))
    assert values["start_from"] is None
    assert "start_from" not in science(values)
    old = {name: item for name, item in values.items() if name != "start_from"}  # as in an older config.yaml
    assert run_id(check(old)) == run_id(values)
    assert run_id({**values, "start_from": trained["id"]}) != run_id(values)
    assert run_id({**values, "start_from": "0" * 12}) != run_id({**values, "start_from": trained["id"]})


def test_an_interrupted_run_needs_its_source_no_more(small, trained, tmp_path):
    elsewhere = tmp_path / "outputs"
    shutil.copytree(Path(small[-1].partition("=")[2]) / trained["id"], elsewhere / trained["id"])
    overrides = [*small[:-1], f"output_dir={elsewhere}", f"start_from={trained['id']}", "recipe.steps=3"]
    record = attnlab.train(attnlab.config(overrides))
    (elsewhere / record["id"] / "result.json").unlink()  # as if it had been stopped before its record
    shutil.rmtree(elsewhere / trained["id"])
    again = attnlab.train(attnlab.config(overrides))
    assert again["metrics"] == record["metrics"]
    assert json.loads((elsewhere / record["id"] / "result.json").read_text())["id"] == run_id(again["config"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["start_from=abc"], r"^wrong value start_from=abc; allowed is all 12 digits of a finished run's id, "),
        (["start_from=123456789012"], r"^wrong value start_from=123456789012; allowed is .* in quotes"),
        (["start_from='123456789012'"], r"start_from=123456789012: no such finished run in output_dir="),
        (["model=resnet14"], r"its backbone, model=resnet8, does not fit model=resnet14: .*stage1\.1\.conv1.* is abs"),
        (["model=resnet8", "attention=sk"], r"does not fit model=resnet8: .*conv1\.weight is \(16, 16, 3, 3\) there, "),
    ],
)  # fmt: skip
def test_what_does_not_fit(small, trained, overrides, message):
    source = [] if overrides[0].startswith("start_from") else [f"start_from={trained['id']}"]
    folders = sorted(Path(small[-1].partition("=")[2]).iterdir())
    with pytest.raises(ConfigError, match=message):
        attnlab.train(attnlab.config([*small, *source, *overrides]))
    assert sorted(Path(small[-1].partition("=")[2]).iterdir()) == folders


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "is missing"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(b"no checkpoint"), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "cannot be read"),
        (lambda path: torch.save({"epoch": 1}, path), "cannot be read"),
        (lambda path: torch.save({"state_dict": {"net.head.linear.bias": torch.zeros(3)}}, path), "cannot be read"),
    ],
)
def test_a_damaged_checkpoint_is_told_and_leaves_nothing(small, trained, tmp_path, damage, reason):
    elsewhere, name = tmp_path / "outputs", trained["id"]
    shutil.copytree(Path(small[-1].partition("=")[2]) / name, elsewhere / name)
    damage(elsewhere / name / "best.ckpt")
    with pytest.raises(ConfigError, match=rf"^start_from={name}: its best\.ckpt {reason}$"):
        attnlab.train(attnlab.config([*small[:-1], f"output_dir={elsewhere}", f"start_from={name}"]))
    assert [path.name for path in elsewhere.iterdir()] == [name]
    with pytest.raises(ConfigError, match=rf"^run={name}: its best\.ckpt {reason}$"):
        attnlab.load(name, elsewhere)


def test_what_is_held_out_may_be_known_from_a_run_further_back(small, trained, tmp_path):
    """A, seed 0; B, seed 1, from A; C, seed 1, from B: B kept from learning what C holds out, A did not."""
    elsewhere = tmp_path / "outputs"
    shutil.copytree(Path(small[-1].partition("=")[2]) / trained["id"], elsewhere / trained["id"])
    here = [*small[:-1], f"output_dir={elsewhere}", "seed=1", "recipe.validation.images=100", "recipe.steps=1"]
    second = attnlab.train(attnlab.config([*here, f"start_from={trained['id']}"]))
    third = [*here, f"start_from={second['id']}", "attention=se"]
    assert begun(*third)[1].endswith("; it was trained on images that are held out here, so val/top1_error is too low")
    assert "val/top1_error" not in begun(*third, "recipe.validation.images=0")[1]
    shutil.rmtree(elsewhere / trained["id"])
    assert begun(*third)[1].endswith(
        f"; it began with {trained['id']}, whose training images are not known: val/top1_error may be too low"
    )
