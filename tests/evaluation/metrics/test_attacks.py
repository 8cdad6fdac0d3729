"""FGSM and PGD: the exact worst case of a linear classifier, the ball, and no side effects."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attnlab.evaluation.metrics.attacks import fgsm, pgd

EPSILON = 8 / 255
ATTACKS = {"fgsm": fgsm, "pgd": pgd}


@pytest.fixture
def net():
    """A small network with batch norm, in eval mode."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 4))
    return net.eval()


@pytest.fixture
def batch(draw):
    """Images, some of whose pixels are black and white, and labels."""
    generator = draw(0)
    images = (torch.rand(12, 3, 8, 8, generator=generator) * 1.4 - 0.2).clamp(0, 1)
    return images, torch.randint(0, 4, (12,), generator=generator)


@torch.no_grad()
def loss(logits, images, labels):
    return F.cross_entropy(logits(images), labels, reduction="none")


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("epsilon", [0.0, EPSILON, 0.3, 1.0])
def test_the_ball_and_the_range_hold(net, batch, name, epsilon):
    images, labels = batch
    adversarial = ATTACKS[name](net, images, labels, epsilon)
    assert adversarial.shape == images.shape
    assert adversarial.dtype == images.dtype
    assert not adversarial.requires_grad
    assert float((adversarial - images).abs().max()) <= epsilon + 1e-6
    assert float(adversarial.min()) >= 0
    assert float(adversarial.max()) <= 1
    if epsilon == 0:
        assert torch.equal(adversarial, images)
    else:
        assert float((adversarial - images).abs().max()) > 0.9 * min(epsilon, 0.8)
        assert (loss(net, adversarial, labels) > loss(net, images, labels)).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_linear_classifiers_worst_case_is_reached(name):
    """Two classes, four pixels: the loss is greatest at a corner of the box, and all 16 are tried."""
    torch.manual_seed(0)
    weights, images = torch.randn(4, 2), torch.tensor([[0.5, 0.02, 0.99, 0.4], [1.0, 0.0, 0.3, 0.6]]).view(2, 1, 2, 2)
    labels = torch.tensor([0, 1])

    def logits(x):
        return x.flatten(1) @ weights

    low, high = (images - 0.1).clamp(min=0), (images + 0.1).clamp(max=1)
    corners = [
        torch.where(torch.tensor(upper).view(1, 1, 2, 2), high, low)
        for upper in itertools.product([False, True], repeat=4)
    ]
    worst = torch.stack([loss(logits, corner, labels) for corner in corners]).amax(dim=0)
    found = loss(logits, ATTACKS[name](logits, images, labels, 0.1), labels)
    assert found.tolist() == pytest.approx(worst.tolist(), abs=1e-6)
    assert (worst > loss(logits, images, labels) + 0.05).all()


def test_pgd_beats_fgsm_on_a_curved_loss(net, batch):
    images, labels = batch
    strong, weak = (loss(net, attack(net, images, labels, 0.3), labels) for attack in (pgd, fgsm))
    assert float(strong.mean()) > float(weak.mean())


def test_steps_and_start_of_pgd(batch):
    """Where the loss is flat, nothing moves from the start; on a slope, one step has the given length."""
    images, labels = torch.full_like(batch[0], 0.5), batch[1]

    def flat(x):
        return 0 * x.flatten(1)[:, :4]

    def slope(x):
        return torch.stack([-x.sum(dim=(1, 2, 3)), x.sum(dim=(1, 2, 3))], dim=1) / 1000

    start = pgd(flat, images, labels, 0.1) - images
    assert float(start.abs().max()) > 0.099
    assert float(start.mean()) == pytest.approx(0, abs=0.005)
    assert float(start.std()) == pytest.approx(0.1 / 3**0.5, rel=0.05)
    assert torch.equal(pgd(flat, images, labels, 0.1), images + start)
    assert not torch.equal(pgd(flat, images, labels, 0.1, seed=1), images + start)
    zeros = torch.zeros_like(labels)
    for steps, step, length in ((1, 0.01, 0.01), (3, 0.01, 0.03), (1, 0.3, 0.3)):
        moved = pgd(slope, images, zeros, 0.1, steps, step) - images
        assert torch.allclose(moved, (start + length).clamp(-0.1, 0.1), atol=1e-6)
    seen = []
    pgd(lambda x: seen.append(x.detach()) or slope(x), images, zeros, 0.1, 20)
    assert len(seen) == 20
    assert float((seen[1] - seen[0]).max()) == pytest.approx(2.5 * 0.1 / 20, abs=1e-6)


@pytest.mark.parametrize("name", ATTACKS)
def test_no_gradient_and_no_statistic_is_touched(net, batch, name):
    images, labels = batch
    before = {key: value.clone() for key, value in net.state_dict().items()}
    images.requires_grad_()
    assert not ATTACKS[name](net, images, labels, EPSILON).requires_grad
    assert images.grad is None
    assert all(parameter.grad is None for parameter in net.parameters())
    next(net.parameters()).grad = torch.ones_like(next(net.parameters()))
    ATTACKS[name](net, images, labels, EPSILON)
    assert (next(net.parameters()).grad == 1).all()
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_an_evaluation_without_gradients_can_attack(net, batch, name, mode):
    images, labels = batch
    expected = ATTACKS[name](net, images, labels, EPSILON)
    with mode():
        assert torch.equal(ATTACKS[name](net, images.clone(), labels.clone(), EPSILON), expected)
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize("name", ATTACKS)
def test_what_cannot_be_attacked_is_said(net, batch, name):
    images, labels = batch
    for wrong in (images * 2, images - 0.5, images / 0):
        with pytest.raises(ValueError, match="images"):
            ATTACKS[name](net, wrong, labels, EPSILON)
    for epsilon in (-0.1, float("nan")):
        with pytest.raises(ValueError, match="epsilon"):
            ATTACKS[name](net, images, labels, epsilon)
    for settings in ({"steps": 0}, {"step": 0.0}):
        with pytest.raises(ValueError, match="steps="):
            pgd(net, images, labels, EPSILON, **settings)
