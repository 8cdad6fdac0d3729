"""Stochastic depth: in training, residual branches are skipped at random, image by image (recipe.stochastic_depth).

y = shortcut(x) + b / (1 - p_l) * branch(x),  b ~ Bernoulli(1 - p_l) for each image,  p_l = p l / L for block l of L
Source: Huang et al. 2016 (arXiv 1603.09382), with its linear decay; the branch is scaled in training, as torchvision's
and timm's codes do, and not in evaluation. Draws come from torch's generator, which is seeded for each training step.
"""

from functools import partial
from typing import Any

from timm.layers import DropPath
from torch import Tensor, nn
from torchvision.ops import stochastic_depth

from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError


def add_stochastic_depth(net: nn.Module, rate: float) -> int:
    """Make a net skip branches in training; returns the number of its blocks. State-dict keys stay as they are.

    rate: p, of the last block. Blocks are those of attnlab with a place `branch`, whose output is skipped together with
    the attention there, and those of timm with a place for drop_path. Raises ConfigError for a net without such blocks.
    """
    blocks = [module for module in net.modules() if _has_drop_path(module) or _has_branch(module)]
    if not blocks:
        raise ConfigError(
            wrong_value("recipe.stochastic_depth", rate, "null for this model, which has no residual blocks to skip")
        )
    for number, block in enumerate(blocks, start=1):
        skipped = rate * number / len(blocks)
        if _has_drop_path(block):
            block.drop_path = DropPath(skipped)
        else:
            block.get_submodule("at_branch").register_forward_hook(partial(_skip, rate=skipped))
    return len(blocks)


def _has_drop_path(module: nn.Module) -> bool:
    return isinstance(getattr(module, "drop_path", None), nn.Identity)


def _has_branch(module: nn.Module) -> bool:
    """Whether a block of attnlab adds the output of its place `branch` to its shortcut."""
    return all(hasattr(module, name) for name in ("at_branch", "at_shortcut")) and getattr(module, "adds", True)


def _skip(module: nn.Module, inputs: Any, y: Tensor, *, rate: float) -> Tensor:
    """The forward hook of the place `branch`."""
    return stochastic_depth(y, rate, "row", module.training)
