"""Second-Order Channel Attention: SE whose squeeze is the covariance of the channels.

S = covariance of the channels over the positions, (C, C); R = S^(1/2), by 5 Newton-Schulz iterations of S / trace(S),
times sqrt(trace(S)); z = W2 relu(W1 v + b1) + b2, v = mean over the rows of R.
Source: Dai et al. 2019, SAN (Second-order Attention Network, CVPR), section 3.3; r = 8; daitao/SAN@7c1e61f
TrainCode/model/san.py, MPNCOV.py. The iterations: Li et al. 2018, iSQRT-COV (arXiv 1712.01034).
Differs from the authors' code in: maps above 1000 pixels are not cropped; a map without variance has v = 0 instead of
NaN; the layers of W are He normal, biases zero (there PyTorch's default).
"""

import torch
from torch import Tensor, nn

from attnlab.attention.excitation import Excitation
from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError


def square_root(s: Tensor, iterations: int) -> Tensor:
    """s (B, C, C), symmetric, not negative -> about s^(1/2), by coupled Newton-Schulz iterations; 0 where s = 0."""
    three = 3 * torch.eye(s.shape[1], dtype=s.dtype, device=s.device)
    trace = s.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]
    positive = trace > 0
    trace = torch.where(positive, trace, 1)  # the square root of 0 has no gradient
    a = s / trace
    z = 0.5 * (three - a)
    y = a @ z
    for _ in range(iterations - 2):
        step = 0.5 * (three - z @ y)
        y, z = y @ step, step @ z
    return 0.5 * (y @ (three - z @ y)) * trace.sqrt() * positive


class SOCA(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1). reduction: r;  iterations: of Newton-Schulz, from 2."""

    def __init__(self, channels: int, *, reduction: int = 8, iterations: int = 5) -> None:
        super().__init__()
        if iterations < 2:
            raise ConfigError(wrong_value("attention.iterations", iterations, "an integer from 2"))
        self.iterations = iterations
        self.excite = Excitation(channels, reduction=reduction)

    def forward(self, x: Tensor) -> Tensor:
        device = "cpu" if x.is_meta else x.device.type  # autocast knows no meta device
        with torch.autocast(device, enabled=False):  # the iterations need float32
            flat = x.flatten(2) if x.dtype == torch.float64 else x.flatten(2).float()
            centred = flat - flat.mean(dim=2, keepdim=True)
            covariance = centred @ centred.transpose(1, 2) / flat.shape[2]
            v = square_root(covariance, self.iterations).mean(dim=1)  # (B, C)
        return self.excite(v.to(x.dtype))[:, :, None, None]
