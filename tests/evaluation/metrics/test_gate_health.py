"""Gate health: statistics of a planted gate, and the verdicts on gates that do nothing, help or hurt."""

import pytest
import torch
from torch import nn

from attnlab.attention.gate import Gate
from attnlab.attention.masks import Attend, Exponential, Hard, Ignore, Relu, Tanh
from attnlab.evaluation.metrics.gate_health import (
    class_share,
    hold_still,
    mask_statistics,
    mean_masks,
    sum_masks,
    verdicts,
)
from attnlab.layers import OverPositions


class Given(nn.Module):
    """A score that is looked up: the first channel's mean picks the row."""

    def __init__(self, z):
        super().__init__()
        self.z = nn.Parameter(z)

    def forward(self, x):
        return self.z[x[:, 0, 0, 0].long()]


class Planted(nn.Module):
    """Image number i (its first pixel) is of class i % 2. A gate over two channels; logits: their means."""

    def __init__(self, z, mask=None):
        super().__init__()
        self.gate = Gate(Given(z), mask or Attend())

    def forward(self, x):
        return self.gate(torch.ones(len(x), 2, 2, 2), x).mean(dim=(2, 3))


def images(count):
    return torch.arange(count).float()[:, None, None, None].expand(-1, 3, 2, 2)


LABELS = torch.arange(40) % 2


def judged(net):
    batches = list(images(40).split(16))
    sums = sum_masks(net, batches, net)
    seen = mask_statistics(sums, LABELS)
    still = hold_still(net, batches, LABELS, mean_masks(sums), lambda x: net(x).detach())
    return seen, still, verdicts(still, seen)


def test_a_gate_that_decides_helps():
    right = torch.stack([torch.tensor([3.0, -3.0]) if label == 0 else torch.tensor([-3.0, 3.0]) for label in LABELS])
    seen, still, words = judged(Planted(right[:, :, None, None]))
    assert words == {"gate": "helps", "all": "helps"}
    assert still["gate"]["error_change"] == pytest.approx(50)  # two channels alike: half is right by chance
    assert still["gate"]["changed"] == pytest.approx(50)
    assert still["gate"]["p"] < 1e-4
    assert seen["gate"]["class_share"] == pytest.approx(1)
    assert seen["gate"]["mean"] == pytest.approx(0.5)
    assert seen["gate"]["sd"] == pytest.approx(float(torch.sigmoid(torch.tensor(3.0))) - 0.5, rel=1e-4)
    assert seen["gate"]["saturated"] == 1  # s(3) = 0.953


def test_a_gate_that_decides_wrongly_hurts():
    wrong = torch.stack([torch.tensor([-3.0, 3.0]) if label == 0 else torch.tensor([3.0, -3.0]) for label in LABELS])
    wrong[::2] *= 0.5  # the mean is then right for class 1
    _, still, words = judged(Planted(wrong[:, :, None, None]))
    assert still["gate"]["error_change"] < 0
    assert words["gate"] == "hurts"


def test_a_constant_gate_does_nothing():
    constant = torch.tensor([1.0, -2.0])[None, :, None, None].expand(40, -1, -1, -1)
    seen, still, words = judged(Planted(constant.clone()))
    assert words == {"gate": "does nothing", "all": "does nothing"}
    assert still["gate"]["changed"] == 0
    assert seen["gate"]["sd_images"] == pytest.approx(0, abs=1e-6)
    assert seen["gate"]["class_share"] is None


def test_a_gate_that_changes_what_does_not_count_is_not_called_dead():
    noise = 0.2 * torch.randn(40, 2, 1, 1, generator=torch.Generator().manual_seed(3))
    _, still, words = judged(Planted(noise))
    assert still["gate"]["changed"] > 0
    assert words["gate"] == "no effect seen"


def test_entropy():
    even = torch.zeros(40, 4, 1, 1)
    peak = torch.full((40, 4, 1, 1), -60.0)
    peak[:, 1] = 60

    class Wide(Planted):
        def forward(self, x):
            return self.gate(torch.ones(len(x), 4, 2, 2), x).mean(dim=(2, 3))

    for z, expected in ((even, 1.0), (peak, 0.0)):
        net = Wide(z)
        assert mask_statistics(sum_masks(net, [images(40)], net), LABELS)["gate"]["entropy"] == pytest.approx(
            expected, abs=1e-6
        )


@pytest.mark.parametrize(
    ("mask", "z", "saturated"),
    [
        (Attend(), [-3.1, -2.9, 0.0, 2.9, 3.1], 2 / 5),
        (Ignore(), [-3.1, 0.0, 3.1], 2 / 3),
        (Exponential(), [-1.0, 0.1, 5.0], 2 / 3),  # no slope below 0, and a small one far above
        (Relu(), [-1.0, 1.0], 1 / 2),
        (Tanh(), [0.0, 9.0], 1 / 2),
        (Hard(), [0.1, -9.0], 1 / 2),
    ],
)
def test_saturated_is_by_the_masks_slope(mask, z, saturated):
    net = Planted(torch.tensor(z)[:, None, None, None].expand(-1, 2, -1, -1).clone(), mask)
    seen = mask_statistics(sum_masks(net, [images(len(z))], net), LABELS[: len(z)])
    assert seen["gate"]["saturated"] == pytest.approx(saturated)


def test_a_softmax_has_no_saturation():
    net = Planted(torch.randn(4, 2, 2, 2), OverPositions())
    assert mask_statistics(sum_masks(net, [images(4)], net), LABELS[:4])["gate"]["saturated"] is None


def test_batches_add_up():
    net = Planted(torch.randn(40, 2, 2, 2, generator=torch.Generator().manual_seed(0)))
    together = mask_statistics(sum_masks(net, [images(40)], net), LABELS)["gate"]
    parts = mask_statistics(sum_masks(net, images(40).split(7), net), LABELS)["gate"]
    for name, value in together.items():
        assert parts[name] == (value if isinstance(value, str) else pytest.approx(value)), name
    m = torch.sigmoid(net.gate.score.z.detach().double())
    assert together["sd_images"] == pytest.approx(float(m.std(dim=0, correction=0).mean()), rel=1e-4)
    assert together["sd"] == pytest.approx(float(m.std(correction=0)), rel=1e-4)


def test_class_share_is_between_over_total():
    pooled = torch.tensor([[0.0], [2.0], [4.0], [6.0]], dtype=torch.float64)
    # classes (0, 2), (4, 6): means 1 and 5, grand mean 3; between 4 * 4 = 16, total 9 + 1 + 1 + 9 = 20
    assert class_share(pooled, torch.tensor([0, 0, 1, 1])) == pytest.approx(0.8)
