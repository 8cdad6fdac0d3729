"""What DDP tests put into runs: a dataset that fails on one rank or all, and a network without batch statistics."""

import os
import signal

import torch
from torch import nn

from attnlab.data.cluttered_digits import ClutteredDigits


class _Broken:
    """Batches that end in an error, or in the process's death, after the third."""

    def __init__(self, batches, how):
        self.batches, self.how = batches, how

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for number, batch in enumerate(self.batches):
            if number == 3 and self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if number == 3:
                raise RuntimeError("planted")
            yield batch


class Digits(ClutteredDigits):
    """breaks: {seed: [rank or all, error or kill]}."""

    def __init__(self, *, breaks, **knobs):
        super().__init__(**knobs)
        self.breaks = {int(seed): how for seed, how in breaks.items()}

    def train_dataloader(self):
        rank, how = self.breaks.get(self.order_seed, (None, None))
        batches = super().train_dataloader()
        return _Broken(batches, how) if rank in ("all", self.ranks()[0]) else batches


class Plain(nn.Module):
    """Two convolutions, no BN: what it learns does not depend on how a batch is shared out."""

    def __init__(self, *, slot):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 2, 1)
        self.attention = slot("branch", 16, stage=1)
        self.channels = {"maps": 16}

    def forward(self, images):
        return {"maps": self.attention(torch.relu(self.second(torch.relu(self.first(images)))))}
