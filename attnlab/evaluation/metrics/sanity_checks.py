"""Does a map depend on the trained weights? Layers are randomised from the output to the input; the map must change.

Source: Adebayo et al. 2018, Sanity checks for saliency maps (arXiv 1810.03292), section 3.1, cascading randomisation;
Spearman's rank correlation with the trained network's maps, averaged over images. Our convention: a map fails the check
if the correlation is still 0.5 or more when all layers are random.
"""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from attnlab.data.batches import generator

SURVIVES = 0.5
Maps = Callable[[nn.Module], dict[str, Tensor]]


def tied_ranks(values: Tensor) -> Tensor:
    """(N, K) -> ranks from 1 along K; equal values get their mean rank."""
    values = values.contiguous()
    ordered = values.sort(dim=1).values
    below = torch.searchsorted(ordered, values, right=False)
    upto = torch.searchsorted(ordered, values, right=True)
    return (below + upto + 1).double() / 2


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Two (N, H, W) -> Spearman's rho of each pair, (N,); 0 if one of the pair is constant."""
    a, b = (tied_ranks(m.flatten(1)) for m in (maps, others))
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    size = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(size > 0, (a * b).sum(dim=1) / size.clamp_min(1e-12), 0.0)


def cascade(net: nn.Module, untrained: nn.Module, steps: int = 6, seed: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """Yield (name of the last layer randomised, network) in `steps` steps from the output to the input.

    The same copy of `net` is changed and yielded in each step; after the last step all layers are random. A parameter
    gets its values in `untrained`. A parameter that is constant there (a bias, BN's weight) gets its trained values in
    random order instead, since the map of a gate that is initialised to zero would otherwise change by construction; a
    single value stays. Running statistics are those of `untrained`.
    """
    net, random = copy.deepcopy(net), generator(seed, 7)
    initial = dict(untrained.named_modules())
    layers = [name for name, module in net.named_modules() if next(module.parameters(recurse=False), None) is not None]
    layers.reverse()
    steps = min(steps, len(layers))
    bounds = [round(len(layers) * (number + 1) / steps) for number in range(steps)]
    done = 0
    for bound in bounds:
        for name in layers[done:bound]:
            _randomise(net.get_submodule(name), initial[name], random)
        done = bound
        yield layers[bound - 1], net


def _randomise(layer: nn.Module, initial: nn.Module, random: torch.Generator) -> None:
    with torch.no_grad():
        for name, parameter in layer.named_parameters(recurse=False):
            new = initial.get_parameter(name).detach()
            if float(new.max() - new.min()) == 0:
                shuffled = torch.randperm(parameter.numel(), generator=random).to(parameter.device)
                new = parameter.flatten()[shuffled].view_as(parameter)
            parameter.copy_(new)
        for name, buffer in layer.named_buffers(recurse=False):
            buffer.copy_(initial.get_buffer(name))


def correlations(
    net: nn.Module, untrained: nn.Module, maps: Maps, steps: int = 6, seed: int = 0
) -> dict[str, list[float]]:
    """{name: mean rank correlation with the trained network's maps, after each step of the cascade}.

    maps: network -> {name: (N, H, W)}, always of the same images and classes.
    """
    trained = maps(net)
    found: dict[str, list[float]] = {name: [] for name in trained}
    for _, changed in cascade(net, untrained, steps, seed):
        for name, now in maps(changed).items():
            found[name].append(float(rank_correlation(trained[name], now).mean()))
    return found


def survives(after_steps: list[float]) -> bool:
    """Whether a map is still similar when all layers are random: it shows the image, not the trained network."""
    return after_steps[-1] >= SURVIVES
