"""Does a map depend on what the network has learnt? Layers are randomised from the output down; the map must go.

Source: Adebayo et al. 2018, Sanity checks for saliency maps (arXiv 1810.03292), section 3.1, cascading randomisation;
Spearman's rank correlation with the trained network's maps, mean over images. Our convention: a map that still has 0.5
when all layers are random has survived, and has not passed.
"""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from attnlab.data.batches import generator

SURVIVES = 0.5
Maps = Callable[[nn.Module], dict[str, Tensor]]


def ranks(values: Tensor) -> Tensor:
    """(N, K) -> ranks from 1 along K, equal values their mean rank."""
    values = values.contiguous()
    ordered = values.sort(dim=1).values
    below = torch.searchsorted(ordered, values, right=False)
    upto = torch.searchsorted(ordered, values, right=True)
    return (below + upto + 1).double() / 2


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """(N, H, W) twice -> Spearman's rho of each pair (N,); 0 where one of them is constant."""
    a, b = (ranks(m.flatten(1)) for m in (maps, others))
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    size = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(size > 0, (a * b).sum(dim=1) / size.clamp_min(1e-12), 0.0)


def cascade(net: nn.Module, fresh: nn.Module, steps: int = 6, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """(the deepest layer that is random now, the network): in `steps` steps from the output down until all is random.

    A copy of `net` is changed and given each time. A parameter takes the values of `fresh`, the untrained network; one
    that starts as a constant there (a bias, BN's weight) has its trained values shuffled instead, else the maps of a
    gate that starts at zero would go by construction; a single element stays. Running statistics are those of `fresh`.
    """
    net, random = copy.deepcopy(net), generator(seed, 7)
    untrained = dict(fresh.named_modules())
    layers = [name for name, module in net.named_modules() if next(module.parameters(recurse=False), None) is not None]
    layers.reverse()
    steps = min(steps, len(layers))
    bounds = [round(len(layers) * (number + 1) / steps) for number in range(steps)]
    done = 0
    for bound in bounds:
        for name in layers[done:bound]:
            _randomise(net.get_submodule(name), untrained[name], random)
        done = bound
        yield layers[bound - 1], net


def _randomise(layer: nn.Module, fresh: nn.Module, random: torch.Generator) -> None:
    with torch.no_grad():
        for name, parameter in layer.named_parameters(recurse=False):
            new = fresh.get_parameter(name).detach()
            if float(new.max() - new.min()) == 0:
                shuffled = torch.randperm(parameter.numel(), generator=random).to(parameter.device)
                new = parameter.flatten()[shuffled].view_as(parameter)
            parameter.copy_(new)
        for name, buffer in layer.named_buffers(recurse=False):
            buffer.copy_(fresh.get_buffer(name))


def sanity(net: nn.Module, fresh: nn.Module, maps: Maps, steps: int = 6, seed: int = 0) -> dict[str, list[float]]:
    """{map: its mean rank correlation with the trained network's, after each step of the cascade}.

    maps: a network -> {map: (N, H, W)}, of the same images and classes each time.
    """
    trained = maps(net)
    found: dict[str, list[float]] = {name: [] for name in trained}
    for _, changed in cascade(net, fresh, steps, seed):
        for name, now in maps(changed).items():
            found[name].append(float(rank_correlation(trained[name], now).mean()))
    return found


def survives(correlations: list[float]) -> bool:
    """Whether a map survived the randomisation of every layer: it shows the image, not the network."""
    return correlations[-1] >= SURVIVES
