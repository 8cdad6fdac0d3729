"""Class-Specific Residual Attention: each class pools the deepest features by attention of its own.

c_i = <w, x_i> / |w| for each class; logit = mean_i c_i + lambda sum_i softmax_i(T c_i) c_i, the last term max_i c_i
for T = infinity; several heads, each with classifiers w and a temperature T of its own, are added.
Source: Zhu and Wu 2021 (arXiv 2108.02456), section 3; lambda = 0.1 and one head with T = 1;
Kevinz-code/CSRA@c8480d1 pipeline/csra.py, whose temperatures these are.
Differs from the authors' code in: nothing known; it is made for several labels per image, here one. PyTorch's default
initialisation of the classifiers, as there.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from attnlab.configuration.messages import wrong_value
from attnlab.errors import ConfigError

#: number of heads -> their temperatures
TEMPERATURES = {
    1: (1.0,),
    2: (1.0, math.inf),
    4: (1.0, 2.0, 4.0, math.inf),
    6: (1.0, 2.0, 3.0, 4.0, 5.0, math.inf),
    8: (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, math.inf),
}


class CSRA(nn.Module):
    """{name: (B, C, H, W)} -> (B, classes), from the last feature.

    channels: {feature name: C}, shallow to deep;  heads: 1, 2, 4, 6, 8;  residual: lambda.
    Raises ConfigError for another number of heads.
    """

    def __init__(self, channels: Mapping[str, int], *, classes: int, heads: int = 1, residual: float = 0.1) -> None:
        super().__init__()
        if heads not in TEMPERATURES:
            raise ConfigError(wrong_value("head.heads", heads, f"one of {', '.join(map(str, TEMPERATURES))}"))
        self.feature, self.residual = list(channels)[-1], float(residual)
        self.temperatures = TEMPERATURES[heads]
        self.classify = nn.ModuleList(nn.Linear(channels[self.feature], classes, bias=False) for _ in self.temperatures)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        positions = features[self.feature].flatten(2).transpose(1, 2)  # (B, H W, C)
        logits = [self.of_head(layer(positions) / layer.weight.norm(dim=1), t)  # type: ignore[operator]
                  for layer, t in zip(self.classify, self.temperatures, strict=True)]  # fmt: skip
        return torch.stack(logits).sum(dim=0)

    def of_head(self, c: Tensor, temperature: float) -> Tensor:
        """Scores c (B, H W, classes) -> logits (B, classes)."""
        if math.isinf(temperature):
            pooled = c.max(dim=1).values
        else:
            pooled = (c * (temperature * c).softmax(dim=1)).sum(dim=1)
        return c.mean(dim=1) + self.residual * pooled
