"""Runs in chunks of steps (machine.graph=true on a CPU) are the runs that Lightning does step by step."""

from pathlib import Path

import pytest
import torch
from PIL import Image

import attnlab
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError, TrainingError
from attnlab.machine import graphs
from attnlab.training import checkpointing, chunk_classifier, step_choice

SMALL = [
    "model=resnet8", "dataset.train_size=420", "dataset.test_size=100", "recipe.batch_size=50",
    "recipe.validation.images=100", "recipe.epochs=2", "tracker=csv", "machine.threads=1", "machine.accelerator=cpu",
    "machine.precision=32-true", "deterministic=true",
]  # fmt: skip
#: 320 training images: 6 steps of 50 and one of 20
CASES = {
    "epochs, CBAM, AdamW": ["attention=cbam"],
    "SGD with momentum": ["recipe=modern", "recipe.batch_size=50", "recipe.epochs=2", "recipe.validation.images=100"],
    "steps, two passes": ["recipe.steps=9", "+recipe.passes_per_epoch=2"],
    "no validation": ["recipe.validation.images=0"],
    "augmented, bf16": [
        "recipe.augment={flip: true, crop: 4, crop_fill: mean, shift: 0.1}", "machine.precision=bf16-mixed",
    ],
    "a batch on its own size": ["recipe.batch_size=320"],
    "dropout": ["head=ltpa_saoyan", "head.dropout=0.5", "head.norm_vectors=true", "head.levels=2"],
}  # fmt: skip


class Killed(BaseException):
    pass


def config(tmp_path, *overrides):
    return attnlab.config([*SMALL, *overrides, f"output_dir={tmp_path / 'outputs'}"])


def folder(cfg):
    return Path(cfg.output_dir) / run_id(cfg)


def content(cfg):
    """last.ckpt, and log.csv without its times."""
    last = torch.load(folder(cfg) / "last.ckpt", weights_only=True)
    return last, [line.split(",")[:-2] for line in (folder(cfg) / "log.csv").read_text().split()]


def trained(tmp_path, *overrides):
    cfg = config(tmp_path, *overrides, "force=true")
    return attnlab.train(cfg), *content(cfg)


def killed_after(cfg, checkpoint, monkeypatch):
    original, count = checkpointing.Last._save, [0]

    def save(self, trainer, batches):
        original(self, trainer, batches)
        count[0] += 1
        if count[0] == checkpoint:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpointing.Last, "_save", save)
        with pytest.raises(Killed):
            attnlab.train(cfg)


def without_times(checkpoint):
    """The loops' counters, which a resumed Lightning must find as if every step had been a batch."""
    loops = checkpoint["loops"]["fit_loop"]
    names = ("automatic_optimization.optim_progress", "batch_progress", "scheduler_progress")
    return {name: loops[f"epoch_loop.{name}"] for name in names} | {"epochs": loops["epoch_progress"]}


def assert_same(one, other):
    assert one[0]["metrics"] == other[0]["metrics"]
    assert one[0]["best_epoch"] == other[0]["best_epoch"]
    assert one[2] == other[2]
    mine, theirs = one[1], other[1]
    assert mine["global_step"] == theirs["global_step"]
    for name, tensor in mine["state_dict"].items():
        assert torch.equal(tensor, theirs["state_dict"][name]), name
    assert str(mine["optimizer_states"]) == str(theirs["optimizer_states"])
    assert mine["lr_schedulers"] == theirs["lr_schedulers"]
    assert without_times(mine) == without_times(theirs)


@pytest.mark.parametrize("case", CASES)
def test_chunks_are_the_run_itself(tmp_path, case):
    by_step = trained(tmp_path, *CASES[case], "machine.graph=false")
    assert_same(trained(tmp_path, *CASES[case], "machine.graph=true"), by_step)


@pytest.fixture
def calls(monkeypatch):
    """Numbers of steps of the chunks that were trained."""
    found, original = [], chunk_classifier.count_steps
    monkeypatch.setattr(chunk_classifier, "count_steps", lambda t, n: (found.append(n), original(t, n)))
    return found


@pytest.mark.parametrize("first", ["true", "false"])
@pytest.mark.parametrize("saved", [2, 7, 9])  # within the first epoch, at its end, within the second
def test_either_kind_of_run_resumes_the_other(tmp_path, monkeypatch, first, saved):
    """machine.checkpoint_minutes=0 makes each chunk one step, so every step is saved."""
    overrides = [*CASES["SGD with momentum"], "machine.checkpoint_minutes=0"]
    expected = trained(tmp_path / "whole", *overrides, "machine.graph=false")
    second = "false" if first == "true" else "true"
    killed_after(config(tmp_path, *overrides, f"machine.graph={first}"), saved, monkeypatch)
    again = config(tmp_path, *overrides, f"machine.graph={second}")
    assert_same((attnlab.train(again), *content(again)), expected)


def test_a_chunk_ends_with_a_checkpoint_that_is_due(tmp_path, monkeypatch, calls):
    """Of 7 steps an epoch, 3 are in a chunk; a checkpoint after 3 and after 6 resumes at the next step."""
    monkeypatch.setattr(step_choice, "CHUNK", 3)
    overrides = [*CASES["epochs, CBAM, AdamW"], "machine.checkpoint_minutes=1e-9"]
    expected = trained(tmp_path / "whole", *overrides, "machine.graph=false")
    for saved in (1, 2):
        calls.clear()
        cfg = config(tmp_path / str(saved), *overrides, "machine.graph=true")
        killed_after(cfg, saved, monkeypatch)
        assert torch.load(folder(cfg) / "last.ckpt", weights_only=True)["global_step"] == 3 * saved
        calls.clear()
        assert_same((attnlab.train(cfg), *content(cfg)), expected)
        assert calls == {1: [3, 1], 2: [1]}[saved] + [3, 3, 1]


def test_a_chunk_is_many_steps_and_ends_with_the_epoch_the_run_or_the_trial(tmp_path, calls):
    trained(tmp_path, "machine.graph=true")
    assert calls == [7, 7]
    calls.clear()
    trained(tmp_path, "machine.graph=true", "recipe.steps=9")
    assert calls == [7, 2]
    calls.clear()
    record = trained(tmp_path, "machine.graph=true", "machine.batches=3")[0]
    assert (calls, record["status"]) == ([3], "trial")


@pytest.mark.parametrize("lr", [1e30, 1e12])
def test_a_loss_that_is_not_finite_names_the_same_step(tmp_path, lr):
    found = []
    for graph in ("false", "true"):
        with pytest.raises(TrainingError) as error:
            trained(tmp_path, f"recipe.optimizer.lr={lr}", f"machine.graph={graph}")
        found.append(str(error.value))
    assert found[0] == found[1]
    assert "not finite at step" in found[0]


def test_pictures_that_are_read_from_a_disk_are_chunks_of_one_step(tmp_path, calls):
    draw = torch.Generator().manual_seed(9)
    for part, images in (("train/a", 12), ("train/b", 12), ("val/a", 4), ("val/b", 4)):
        (tmp_path / "tree" / part).mkdir(parents=True)
        for number in range(images):
            pixels = torch.randint(0, 256, (40, 40, 3), generator=draw, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(tmp_path / "tree" / part / f"{number}.png")
    overrides = [
        "dataset=imagenet", f"dataset.root={tmp_path / 'tree'}", "dataset.classes=2", "dataset.image_size=32",
        "recipe.batch_size=4", "recipe.validation.images=4", "machine.workers=0",
    ]  # fmt: skip
    kept = [o for o in SMALL if not o.startswith("dataset.")]

    def run(graph):
        cfg = attnlab.config([*kept, *overrides, f"machine.graph={graph}", "force=true", f"output_dir={tmp_path}/o"])
        return attnlab.train(cfg), *content(cfg)

    by_step = run("false")
    assert_same(run("true"), by_step)
    assert calls == [1] * 10


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("recipe.grad_clip=1.0", "recipe.grad_clip=1.0"),
        ("machine.detect_anomaly=true", "machine.detect_anomaly=true"),
        ("recipe.optimizer={_target_: torch.optim.Rprop, lr: 0.1}", "torch.optim.Rprop"),
        ("machine.precision=bf16-true", "machine.precision=bf16-true"),
    ],
)
def test_what_stands_against_a_graph_is_named(tmp_path, override, named):
    with pytest.raises(ConfigError, match=r"wrong value machine.graph=true; allowed is auto or false") as error:
        attnlab.train(config(tmp_path, "machine.graph=true", override))
    assert named in str(error.value)


def test_hooks_stand_against_a_graph():
    net = torch.nn.Sequential(torch.nn.Linear(2, 2))
    assert not step_choice.has_hooks(net)
    net[0].register_forward_hook(lambda *_: None)
    assert step_choice.has_hooks(net)


def test_auto_is_for_gpus_only(tmp_path, calls):
    trained(tmp_path)
    assert calls == []


def test_a_step_that_cannot_be_captured_runs_directly_or_fails(tmp_path, monkeypatch, capsys):
    def capture(self, function):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(graphs.DirectCalls, "capture", capture)
    with pytest.raises(TrainingError, match=r"operation not permitted when stream is capturing; machine.graph=auto"):
        trained(tmp_path, "machine.graph=true")
    step_choice.run_eagerly({"machine": {"graph": "auto"}}, "0123")("no")
    assert "0123: steps run one by one, since capturing a CUDA graph failed: no" in capsys.readouterr().out
