"""Nets on the meta device, of which tests read shapes, without what torch does slowly there.

torch decomposes a batch norm on meta into fifty operations in Python, and a normal draw into ten. Here the one gives an
empty tensor of the same shape, after a check of the channels, and the other does nothing. Elsewhere both are torch's.
"""

from functools import wraps

import torch
import torch.nn.functional as F
from torch import Tensor


def share():
    """Replace torch's batch norm and draws; on other devices they stay what they are."""
    F.batch_norm = _of_its_shape(F.batch_norm)
    for name in ("normal_", "uniform_"):
        setattr(Tensor, name, _nothing_on_meta(getattr(Tensor, name)))


def _of_its_shape(batch_norm):
    @wraps(batch_norm)
    def shape(input, running_mean, *args, **kwargs):
        if not input.is_meta:
            return batch_norm(input, running_mean, *args, **kwargs)
        assert running_mean is None or running_mean.shape == input.shape[1:2]
        return torch.empty_like(input)

    return shape


def _nothing_on_meta(draw):
    @wraps(draw)
    def drawn(self, *args, **kwargs):
        return self if self.is_meta else draw(self, *args, **kwargs)

    return drawn
