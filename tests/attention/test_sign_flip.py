"""ISE at alpha = 1 is SE with the last layer's sign flipped, for a whole training run: the built-in placebo."""

import pytest
import torch
import torch.nn.functional as F

import attnlab
from attnlab.attention.cbam import SpatialScore
from attnlab.attention.excitation import Excitation

STEPS = 50


def flip_scores(net: torch.nn.Module) -> None:
    """Negate the last layer of every score."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, Excitation):
                module.expand.weight.neg_()
                module.expand.bias.neg_()
            if isinstance(module, SpatialScore):
                last = module.norm if isinstance(module.norm, torch.nn.BatchNorm2d) else module.conv
                for parameter in last.parameters():
                    parameter.neg_()


def losses(net: torch.nn.Module) -> list[float]:
    torch.manual_seed(1)
    net = net.double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    found = []
    for _ in range(STEPS):
        images, labels = torch.randn(8, 3, 8, 8, dtype=torch.float64), torch.randint(0, 10, (8,))
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize("pair", [("se", "ise"), ("cbam", "icbam"), ("cbam_laakom2021", "icbam_negated_laakom2021")])
def test_attend_and_ignore_train_alike(pair):
    attend, ignore = (attnlab.build(attnlab.config(["model=resnet8", f"attention={name}"])) for name in pair)
    for a, b in zip(attend.parameters(), ignore.parameters(), strict=True):
        assert torch.equal(a, b)
    flip_scores(ignore)
    ours, theirs = losses(attend), losses(ignore)
    assert ours == pytest.approx(theirs, rel=1e-10)
    assert ours[0] != ours[-1]


def test_without_the_flip_they_differ():
    nets = [attnlab.build(attnlab.config(["model=resnet8", f"attention={name}"])) for name in ("se", "ise")]
    assert losses(nets[0])[-1] != pytest.approx(losses(nets[1])[-1], rel=1e-6)


def test_alpha_below_1_is_another_function():
    nets = [attnlab.build(attnlab.config(["model=resnet8", f"attention={n}"])) for n in ("se", "ise_05_laakom2021")]
    flip_scores(nets[1])
    assert losses(nets[0])[-1] != pytest.approx(losses(nets[1])[-1], rel=1e-6)
