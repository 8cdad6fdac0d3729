"""Stages of residual blocks, named stage1, stage2, ..., as the residual backbones share them."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from attnlab.errors import ConfigError
from attnlab.models.slots import Slot


def residual_stages(
    block: Callable[..., nn.Module],
    in_channels: int,
    *,
    blocks: Sequence[int],
    widths: Sequence[int],
    expansion: int,
    slot: Slot,
) -> tuple[nn.ModuleDict, dict[str, int]]:
    """Return {stage1: Sequential, ...} and {stage1: channels, ...}; every stage but the first begins with stride 2.

    block: called as block(in_channels, width, stride, downsampling=..., slot=...);  blocks, widths: of each stage;
    expansion: a block's output channels are expansion * width.
    Slot: `stage`, the end of each stage but the last. Raises ConfigError for lists that do not fit.
    """
    for key, values in (("blocks", blocks), ("widths", widths)):
        counts = isinstance(values, list | tuple) and all(type(value) is int and value >= 1 for value in values)
        if not counts or not values or len(values) != len(blocks):
            raise ConfigError(
                f"wrong value model.{key}={values}; allowed is an integer from 1 for each stage, e.g. [3,3,3]"
            )
    stages, channels = nn.ModuleDict(), {}
    for number, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
        here = partial(slot, stage=number)
        downsampling = 2 ** (number - 1)
        stage = nn.Sequential()
        for index in range(count):
            stride = 2 if number > 1 and index == 0 else 1
            stage.append(block(in_channels, width, stride, downsampling=downsampling, slot=here))
            in_channels = expansion * width
        if number < len(blocks):
            stage.add_module("at_stage", here("stage", in_channels, downsampling=downsampling))
        stages[f"stage{number}"] = stage
        channels[f"stage{number}"] = in_channels
    return stages, channels
