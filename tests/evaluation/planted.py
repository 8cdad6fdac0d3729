"""A finished run whose network is written by hand: its mask is the truth, noise, or constant."""

from pathlib import Path

import torch
from torch import Tensor, nn

from attnlab.attention.gate import Gate
from attnlab.attention.masks import Attend
from attnlab.data.augment import Preprocess
from attnlab.data.memory import Images
from attnlab.evaluation.finished_run import FinishedRun

SIZE = 16


def scenes(count, seed):
    """Dim noise with one bright square of 4x4 to 6x6 px; its brightness is 0.8 or 1.0, the class. Its mask is known."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 120, (count, 3, SIZE, SIZE), generator=random, dtype=torch.uint8)
    masks = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    labels = torch.arange(count) % 2
    for i in range(count):
        side = int(torch.randint(4, 7, (), generator=random))
        top, left = (int(torch.randint(0, SIZE - side + 1, (), generator=random)) for _ in range(2))
        masks[i, top : top + side, left : left + side] = True
        images[i, :, top : top + side, left : left + side] = 205 if labels[i] == 0 else 255
    return Images(images, labels, masks)


class Truth(nn.Module):
    """Images in [0, 1] -> a high score on the object."""

    def forward(self, x: Tensor) -> Tensor:
        return 60 * (x.mean(dim=1, keepdim=True) - 0.65)


class Noise(nn.Module):
    """A score that knows nothing of the image, another one for each."""

    def forward(self, x: Tensor) -> Tensor:
        seed = int((x.double().sum() * 1e6).item()) % 2**31
        return torch.randn(len(x), 1, *x.shape[2:], generator=torch.Generator().manual_seed(seed))


class Constant(nn.Module):
    """The same score everywhere and always."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x), 1, *x.shape[2:]), 0.7)


class Backbone(nn.Module):
    """Gates the images themselves; a trained layer makes features of what is left."""

    def __init__(self, score):
        super().__init__()
        self.gate = Gate(score, Attend())
        self.conv = nn.Conv2d(3, 4, 1)
        nn.init.constant_(self.conv.weight, 1 / 3)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x):
        return {"stage1": self.conv(self.gate(x))}


class Head(nn.Module):
    """Two logits of the brightest position: which of the two classes' brightnesses it has."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 2)
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([[-40.0], [40.0]]))
            self.linear.bias.copy_(torch.tensor([36.0, -36.0]))

    def forward(self, features):
        return self.linear(features["stage1"].amax(dim=(2, 3))[:, :1])


class Net(nn.Module):
    """Head of backbone, as attnlab's."""

    def __init__(self, score):
        super().__init__()
        self.backbone, self.head = Backbone(score), Head()

    def forward(self, x):
        return self.head(self.backbone(x))


class Planted(FinishedRun):
    """No run was trained: untrained() is a copy with random weights."""

    def untrained(self, number=0):
        net = Net(self.net.backbone.gate.score)
        random = torch.Generator().manual_seed(5 + number)
        for parameter in net.parameters():
            parameter.data = torch.randn(parameter.shape, generator=random)
        return net.eval()


def planted(score, count=200, selection=100):
    """A run whose network has this score."""
    train = torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)
    config = {"dataset": {"classes": 2, "image_size": SIZE, "_target_": "attnlab.data.folder.Folder"}, "seed": 0}
    return Planted(
        Path("planted"), config, {}, Net(score).eval().requires_grad_(False), Preprocess("scale", None, train),
        scenes(count, 0), scenes(selection, 1), "0", torch.device("cpu"), bf16=False,
    )  # fmt: skip
