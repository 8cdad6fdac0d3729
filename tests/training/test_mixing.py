"""Mixup and CutMix: the maths of the papers, draws of the run's seed and the step, and runs that resume."""

import pytest
import torch
import torch.nn.functional as F
from resumed import assert_resumes, config
from torch import nn

import attnlab
from attnlab.configuration.compose import plain
from attnlab.configuration.identity import run_id
from attnlab.errors import ConfigError
from attnlab.records.source_code import digests
from attnlab.training.classifier import Classifier
from attnlab.training.mixing import MixingClassifier
from attnlab.training.step_choice import obstacle
from attnlab.training.trainer import make_classifier

BATCH, SIZE, CLASSES = 8, 16, 5


def mixing(seed=0, **alphas):
    return MixingClassifier(nn.Flatten(), classes=CLASSES, seed=seed, **alphas)


def batch(draw):
    images = torch.randn(BATCH, 3, SIZE, SIZE, generator=draw(1))
    return images, torch.randint(CLASSES, (BATCH,), generator=draw(2))


def test_mixup_is_the_papers_formula(draw):
    images, labels = batch(draw)
    x, y = mixing(mixup=0.4).mix(images, labels, 3)
    share = ((x - images.roll(1, 0)) / (images - images.roll(1, 0))).median()
    torch.testing.assert_close(x, share * images + (1 - share) * images.roll(1, 0))
    one_hot = F.one_hot(labels, CLASSES)
    torch.testing.assert_close(y, share * one_hot + (1 - share) * one_hot.roll(1, 0))


def test_cutmix_pastes_a_box_and_shares_the_label_by_its_area(draw):
    images, labels = batch(draw)
    seen = set()
    for step in range(20):
        x, y = mixing(cutmix=1.0).mix(images, labels, step)
        pasted = (x != images).any(dim=1)
        assert torch.equal(x[pasted.unsqueeze(1).expand_as(x)], images.roll(1, 0)[pasted.unsqueeze(1).expand_as(x)])
        rows, columns = pasted[0].any(dim=1), pasted[0].any(dim=0)
        assert torch.equal(pasted[0], rows.unsqueeze(1) & columns)  # a box
        share = 1 - pasted[0].float().mean()
        one_hot = F.one_hot(labels, CLASSES)
        torch.testing.assert_close(y, share * one_hot + (1 - share) * one_hot.roll(1, 0))
        seen.add(float(share))
    assert len(seen) > 10


def test_the_loss_is_the_mean_of_both_labels_cross_entropies(draw):
    images, labels = batch(draw)
    _, shares = mixing(mixup=1.0).mix(images, labels, 0)
    logits, smoothing = torch.randn(BATCH, CLASSES, generator=draw(3)), 0.1
    share = float(shares.max()) if labels[0] == labels[-1] else float(shares[0, labels[0]])
    first, second = (F.cross_entropy(logits, y, label_smoothing=smoothing) for y in (labels, labels.roll(1, 0)))
    mixed = F.cross_entropy(logits, shares, label_smoothing=smoothing)
    torch.testing.assert_close(mixed, share * first + (1 - share) * second)


def test_draws_are_those_of_the_seed_and_the_step_and_leave_the_others_alone(draw):
    images, labels = batch(draw)

    def mixed(seed, step):
        return mixing(seed, mixup=0.4, cutmix=1.0).mix(images, labels, step)

    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = mixed(1, 2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    for one, other in zip(first, mixed(1, 2), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first[0], mixed(1, 3)[0])
    assert not torch.equal(first[0], mixed(2, 2)[0])


def test_ranks_draw_the_same_share_and_box(draw):
    """Each rank mixes its own images; a share or a box of its own would be another experiment on two devices."""
    images, labels = batch(draw)
    for alphas in ({"mixup": 0.4}, {"cutmix": 1.0}):
        whole, parts = mixing(**alphas), [mixing(**alphas) for _ in range(2)]
        for step in range(4):
            x, _ = whole.mix(images, labels, step)
            for rank, part in enumerate(parts):
                mine = slice(rank * 4, rank * 4 + 4)
                found, _ = part.mix(images[mine], labels[mine], step)
                assert torch.equal(found[1:], x[mine][1:])  # all but the first, whose neighbour is another one


def test_with_both_each_is_drawn_for_about_half_of_the_batches(draw):
    images, labels = batch(draw)
    both = mixing(mixup=1.0, cutmix=1.0)
    pasted = 0
    for step in range(200):
        x, _ = both.mix(images, labels, step)
        is_own, is_other = x == images, x == images.roll(1, 0)
        pasted += bool((is_own | is_other).all())
    assert 70 < pasted < 130


def test_the_classifier_of_a_config(tmp_path):
    values = plain(config(tmp_path, "recipe.mixup=0.2"))
    made = make_classifier(values, nn.Flatten())
    assert (type(made), made.seed, len(made.kinds)) == (MixingClassifier, 0, 1)
    assert type(make_classifier(plain(config(tmp_path)), nn.Flatten())) is Classifier
    assert obstacle(values, nn.Flatten()).startswith("recipe.mixup=0.2: ")
    assert "training.mixing" in digests(values)
    assert run_id(values) != run_id(config(tmp_path))


@pytest.mark.parametrize("key", ["recipe.mixup", "recipe.cutmix"])
def test_an_alpha_is_above_zero(tmp_path, key):
    with pytest.raises(ConfigError, match=rf"^wrong value {key}=0; allowed is a number above 0, or null$"):
        config(tmp_path, f"{key}=0")


def test_it_changes_what_is_learnt_and_not_what_is_tested(tmp_path):
    plain_run, mixed_run = (
        attnlab.train(config(tmp_path, *more, "recipe.epochs=1")) for more in ([], ["recipe.mixup=1.0"])
    )
    assert plain_run["metrics"] != mixed_run["metrics"]
    assert plain_run["data_hash"] == mixed_run["data_hash"]


@pytest.mark.slow
def test_a_killed_run_mixes_the_same_images(tmp_path, monkeypatch):
    assert_resumes(tmp_path, monkeypatch, (2, 6, 8), "recipe.mixup=0.4", "recipe.cutmix=1.0")
