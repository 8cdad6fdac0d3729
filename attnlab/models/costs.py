"""What a network costs, counted."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_macs(net: nn.Module, values: Mapping[str, Any]) -> int:
    """Multiply-accumulates of convolutions and matrix products for one image, forward."""
    size = values["dataset"]["image_size"]
    was_training = net.training
    net.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, size, size))
    net.train(was_training)
    return counter.get_total_flops() // 2
