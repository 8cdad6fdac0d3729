"""Count the operations of a network."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_macs(net: nn.Module, values: Mapping[str, Any]) -> int:
    """Multiply-accumulates of convolutions and matrix products in the forward pass of one image."""
    size = values["dataset"]["image_size"]
    was_training = net.training
    net.eval()
    # MATH: PyTorch's counter does not know the fused attention that a CPU would take.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, size, size))
    net.train(was_training)
    return counter.get_total_flops() // 2
