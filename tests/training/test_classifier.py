"""The schedules against the protocols they stand for; metrics."""

import pytest
import torch
from torch import nn

import attnlab
from attnlab import schedules
from attnlab.configuration.compose import plain
from attnlab.errors import ConfigError

WHERE = {"steps_per_epoch": 10, "total_steps": 2000}


def test_laakom2021_learning_rates():
    """0.1; 0.02 for epoch index > 60; 0.004 for > 120; 0.0008 for > 160, indices from 0."""
    knobs = {
        name: v
        for name, v in plain(attnlab.config(["recipe=laakom2021", "dataset=cifar10"]))["recipe"]["schedule"].items()
        if name != "_target_"
    }
    lr = [0.1 * schedules.multistep(epoch * 10 + 9, **WHERE, **knobs) for epoch in range(200)]
    for epoch, expected in (
        (0, 0.1),
        (60, 0.1),
        (61, 0.02),
        (120, 0.02),
        (121, 0.004),
        (160, 0.004),
        (161, 0.0008),
        (199, 0.0008),
    ):
        assert lr[epoch] == pytest.approx(expected)


@pytest.mark.parametrize("recipe", ["he2016", "simam2021"])
def test_64k_iterations(recipe):
    cfg = plain(attnlab.config([f"recipe={recipe}", "dataset=cifar10"]))["recipe"]
    assert cfg["steps"] == 64_000
    knobs = {name: v for name, v in cfg["schedule"].items() if name != "_target_"}
    for step, factor in ((0, 1), (31_999, 1), (32_000, 0.1), (47_999, 0.1), (48_000, 0.01)):
        assert schedules.multistep(step, steps_per_epoch=391, total_steps=64_000, **knobs) == pytest.approx(factor)


def test_warmup_of_multistep():
    factor = [
        schedules.multistep(s, **WHERE, milestones=[50], gamma=0.1, unit="steps", warmup_steps=3, warmup_factor=0.1)
        for s in (0, 2, 3, 50)
    ]
    assert factor == pytest.approx([0.1, 0.1, 1, 0.1])
    with pytest.raises(ConfigError, match=r"recipe\.schedule\.unit=days; allowed are epochs, steps"):
        schedules.multistep(0, **WHERE, milestones=[1], gamma=0.1, unit="days")


def test_warmup_cosine_rises_falls_and_ends_at_final():
    lr = [schedules.warmup_cosine(s, steps_per_epoch=10, total_steps=100, warmup=0.2, final=0.1) for s in range(100)]
    assert lr[:20] == sorted(lr[:20])
    assert max(lr) == pytest.approx(1, abs=0.06)
    assert lr[20:] == sorted(lr[20:], reverse=True)
    assert lr[-1] == pytest.approx(0.1)


def test_metrics_against_a_hand_count():
    from attnlab.training.classifier import Classifier

    net = nn.Identity()
    classifier = Classifier(net, classes=6)
    logits = torch.eye(6)[[0, 1, 2, 3]] * 5 + torch.arange(6) * 0.1
    labels = torch.tensor([0, 1, 3, 3])  # one of four wrong
    classifier._score("test", (logits, labels))
    values = classifier._scores("test").compute()
    # one bin a sample here: the mean of |confidence - correctness|
    confidence, right = logits.softmax(1).max(1).values, (logits.argmax(1) == labels).float()
    bins = (confidence * 15).long()
    gaps = [abs(float((confidence - right)[bins == b].sum())) / 4 for b in bins.unique()]
    assert float(values["calibration_error"]) == pytest.approx(sum(gaps), abs=1e-5)
    assert float(values["top1"]) == pytest.approx(0.75)
    assert float(values["top5"]) == pytest.approx(1.0)
    assert float(values["loss"]) == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-6)


def test_losses_looked_at_together_name_the_step_of_the_first_bad_one():
    """As on a GPU, where nobody waits for each: sums of all steps, the error at the first that is not finite."""
    from attnlab.errors import TrainingError
    from attnlab.training.classifier import Classifier

    classifier = Classifier(nn.Identity(), classes=2)
    classifier.recent = [(torch.tensor(loss), torch.tensor(1), 4) for loss in (1.0, 2.0)]
    assert {name: float(score) for name, score in sums_of(classifier).items()} == {"loss": 1.5, "error": 25}
    classifier.recent = [(torch.tensor(loss), torch.tensor(1), 4) for loss in (1.0, float("nan"), float("inf"))]
    classifier.recent_from = 7
    classifier._trainer = type("Trainer", (), {"current_epoch": 3})()
    with pytest.raises(TrainingError, match=r"the training loss is not finite at step 8 \(epoch 3\)"):
        classifier._add_up()


def sums_of(classifier):
    classifier._add_up()
    assert not classifier.recent
    loss, wrong, images = classifier.sums
    return {"loss": loss / images, "error": 100 * wrong / images}


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("count", [1, 60, 100])
def test_logits_that_are_not_finite_fail_the_test(count, value):
    """Of any number of images: a mean over the others is no result."""
    import lightning.pytorch as pl
    from torch.utils.data import DataLoader, TensorDataset

    from attnlab.errors import TrainingError
    from attnlab.training.classifier import Classifier

    logits = torch.eye(10).repeat(10, 1)
    logits[:count, 3] = float(value)
    batches = DataLoader(TensorDataset(logits, torch.arange(100) % 10), batch_size=50)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with pytest.raises(TrainingError, match="the test loss is not finite"):
        trainer.test(Classifier(nn.Identity(), classes=10), batches, verbose=False)
