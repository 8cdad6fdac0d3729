"""Sanity check: a map that depends on the weights passes; one that depends only on the image fails."""

from itertools import pairwise

import pytest
import torch
from scipy.stats import rankdata, spearmanr

import attnlab
from attnlab.evaluation.metrics.sanity_checks import cascade, correlations, rank_correlation, survives, tied_ranks

X = torch.randn(20, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def built(seed=0, *overrides):
    return attnlab.build(attnlab.config(["model=resnet8", "attention=cbam", f"seed={seed}", *overrides])).eval()


def test_ranks_and_correlation_are_scipys():
    values = torch.randint(0, 5, (6, 30), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(tied_ranks(values), torch.from_numpy(rankdata(values.numpy(), axis=1)))
    others = torch.randn(6, 5, 6, generator=torch.Generator().manual_seed(1))
    found = rank_correlation(values.view(6, 5, 6), others)
    for i in range(6):
        assert float(found[i]) == pytest.approx(spearmanr(values[i], others[i].flatten())[0])
    assert float(rank_correlation(torch.ones(1, 5, 6), others[:1])[0]) == 0


def test_the_cascade_goes_from_the_output_down():
    net, fresh = built(0), built(1)
    for parameter in net.parameters():  # as if trained: nothing is constant any more
        parameter.data.add_(0.1 * torch.rand_like(parameter))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    changed_so_far: list[set[str]] = []
    for deepest, changed in cascade(net, fresh, steps=4):
        state = changed.state_dict()
        changed_so_far.append({name for name in before if not torch.equal(before[name], state[name])})
        assert any(name.startswith(deepest) for name in changed_so_far[-1])
    assert all(a < b for a, b in pairwise(changed_so_far))
    assert "head.linear.weight" in changed_so_far[0]
    assert not any("stage1" in name for name in changed_so_far[0])
    weights = {name for name in before if before[name].dim() > 1}
    assert weights <= changed_so_far[-1]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())  # a copy was changed


def test_what_starts_constant_is_shuffled_not_reset():
    net, fresh = built(0), built(1)
    norm = net.get_submodule("backbone.stage1.0.at_branch.spatial.score.norm")
    torch.nn.init.constant_(norm.weight, 1.7)  # it starts at 0: the mask of a fresh net would be flat
    *_, (_, changed) = cascade(net, fresh)
    weight = changed.get_submodule("backbone.stage1.0.at_branch.spatial.score.norm").weight
    assert float(weight.detach()[0]) == pytest.approx(1.7)


def test_verdicts():
    net, fresh = built(0), built(1)

    def weights_own(net):
        pattern = net.get_parameter("backbone.stage3.0.conv1.weight").detach().flatten()[:1024].view(1, 32, 32)
        return pattern.expand(20, -1, -1)

    found = correlations(net, fresh, lambda net: {"image": X.mean(dim=1), "weights": weights_own(net)})
    assert found["image"] == [pytest.approx(1)] * 6
    assert abs(found["weights"][-1]) < 0.2
    assert survives(found["image"])
    assert not survives(found["weights"])
