"""The linear head: global average pooling of the deepest features, then one linear layer."""

from collections.abc import Mapping

from torch import Tensor, nn


class Linear(nn.Module):
    """{name: (B, C, H, W)} -> (B, classes), from the last feature. The kernel starts He normal, the bias at 0.

    channels: {feature name: C}, shallow to deep, as backbones state it.
    """

    def __init__(self, channels: Mapping[str, int], *, classes: int) -> None:
        super().__init__()
        self.feature = list(channels)[-1]
        self.linear = nn.Linear(channels[self.feature], classes)
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu")
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        return self.linear(features[self.feature].mean(dim=(2, 3)))
