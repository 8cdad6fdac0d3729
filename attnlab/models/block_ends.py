"""Where the blocks of a network end that was not written for attnlab: timm's and torchvision's CNNs.

A block is the outermost module with a convolution and another layer that is not itself a stage. A stage is a container
of torch.nn or, as timm writes them, a module with a container `blocks` or of a class called ...Stage. Stems, heads, and
sequences of single layers are no blocks.
A network without blocks (VGG, AlexNet) has its ends before each pooling layer.
"""

from collections.abc import Iterator
from itertools import pairwise

from torch import nn

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
POOLS = (nn.MaxPool2d, nn.AvgPool2d)
#: beginnings of the names of what is no part of the trunk
OUTSIDE = ("stem", "patch_embed", "pre_logits", "head", "aux", "classifier")


def block_ends(net: nn.Module) -> list[str]:
    """The names of the modules at whose output a block ends, in the order of the network."""
    return list(_blocks(net, "")) or list(_before_pools(net))


def _blocks(module: nn.Module, above: str) -> Iterator[str]:
    blocks = getattr(module, "blocks", None)
    if _is_stage(module) and isinstance(blocks, CONTAINERS):  # the rest of such a stage is its downsampling
        yield from _blocks(blocks, f"{above}blocks.")
        return
    for name, child in module.named_children():
        if not _is_more_than_a_layer(child) or (not above and name.lower().startswith(OUTSIDE)):
            continue
        if _is_stage(child):
            yield from _blocks(child, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def _is_stage(module: nn.Module) -> bool:
    holds_blocks = isinstance(getattr(module, "blocks", None), CONTAINERS)
    return isinstance(module, CONTAINERS) or holds_blocks or type(module).__name__.endswith("Stage")


def _is_more_than_a_layer(module: nn.Module) -> bool:
    """Whether it has a convolution and another layer with weights, and is no plain sequence of layers."""
    convs = sum(isinstance(part, nn.Conv2d) for part in module.modules())
    linears = sum(isinstance(part, nn.Linear) for part in module.modules())
    sequence = isinstance(module, nn.Sequential) and not any(list(part.children()) for part in module.children())
    return convs > 0 and convs + linears > 1 and not sequence


def _before_pools(net: nn.Module) -> Iterator[str]:
    for name, sequence in net.named_modules():
        layers = list(sequence.named_children()) if isinstance(sequence, nn.Sequential) else []
        for (before, _), (_, layer) in pairwise(layers):
            if isinstance(layer, POOLS):
                yield f"{name}.{before}" if name else before
