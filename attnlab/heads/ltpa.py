"""The head of Learn To Pay Attention: local features of several levels, pooled where they agree with a global vector.

For each of the deepest `levels` local features l (positions i) and the global vector g:
c_i = <u, l_i + g> (pc), <l_i, g> (dp) or <u, l_i> (u: g neglected); a = softmax over positions of c; v = sum_i a_i l_i;
with normalize=sigmoid: a = s(c), v = mean_i a_i l_i. Where l and g differ in channels, l is projected to g's by a 1x1
conv, or g to l's by BN, ReLU, dropout, linear.
`concat`: one linear layer on all v;  `indep`: one each, their logits or log-probabilities added. These two are one
model: a level's log-probabilities are its logits less one number an image, which the softmax of the sum cancels, so
loss, gradients and probabilities are equal. The authors' att3 adds logits, their att2 log-probabilities.
With pc and softmax <u, g> is the same at every position and cancels: g has no influence and its layers no gradient, in
the authors' code too; pc is then u. With sigmoid, or dp, it counts.
Source: Jetley et al. 2018 (arXiv 1804.02391), section 3; saumya-jetley/cd_ICLR18_LearnToPayAttention@605c280 (project
global, vectors normed: BN, ReLU, dropout .5); SaoYan/LearnToPayAttention@61cf5b2 blocks.py (project local, not normed).
Initially u and l's projection are Xavier uniform with gain sqrt(2), g's projection is He normal, classifiers are
Xavier, biases 0.
init=saoyan: classifiers with gain sqrt(2) as well (SaoYan's initialize.py). init=jetley2018, the authors': u and l's
projection normal by fan-out (u: sd sqrt(2), so that its softmax begins with one or two positions), linear layers
U(-1/sqrt(inputs), 1/sqrt(inputs)), biases included, BN weights U(0, 1) (torch/nn Linear.lua, BatchNormalization.lua).
Differs from the authors' code in: u has no bias, which the softmax would cancel.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.layers import OverPositions

CHOICES = {
    "compatibility": ("pc", "dp", "u"),
    "normalize": ("softmax", "sigmoid"),
    "project": ("local", "global"),
    "combine": ("concat", "indep_logits", "indep_log_probabilities"),
}


INITS = (None, "jetley2018", "saoyan")


def draw_conv(conv: nn.Conv2d, init: str | None) -> None:
    """Xavier uniform with gain sqrt(2); jetley2018: normal by fan-out."""
    if init == "jetley2018":
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    else:
        nn.init.xavier_uniform_(conv.weight, gain=2**0.5)


def draw_classifier(linear: nn.Linear, init: str | None) -> None:
    """Xavier uniform, bias 0; saoyan: with gain sqrt(2); jetley2018: PyTorch's own draw, which is Torch7's."""
    if init != "jetley2018":
        nn.init.xavier_uniform_(linear.weight, gain=2**0.5 if init == "saoyan" else 1.0)
        nn.init.zeros_(linear.bias)


def norm(channels: int, init: str | None) -> nn.BatchNorm1d:
    """BN with weights of 1; jetley2018: U(0, 1)."""
    layer = nn.BatchNorm1d(channels)
    if init == "jetley2018":
        nn.init.uniform_(layer.weight)
    return layer


class Level(nn.Module):
    """Local features l (B, C_l, H, W), global vector g (B, C_g) -> scores (B, 1, H, W), attended vector (B, C)."""

    def __init__(
        self, local: int, glob: int, *, compatibility: str, normalize: str, project: str, dropout: float,
        init: str | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.compatibility, self.normalize = compatibility, normalize
        self.mask = OverPositions() if normalize == "softmax" else nn.Sigmoid()
        self.project_local: nn.Module = nn.Identity()
        self.project_global: nn.Module = nn.Identity()
        self.channels = local
        if local != glob and project == "local":
            conv = nn.Conv2d(local, glob, 1, bias=False)
            draw_conv(conv, init)
            self.project_local, self.channels = conv, glob
        elif local != glob:
            linear = nn.Linear(glob, local)
            if init is None:
                nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
                nn.init.zeros_(linear.bias)
            else:
                draw_classifier(linear, init)
            self.project_global = nn.Sequential(norm(glob, init), nn.ReLU(), nn.Dropout(dropout), linear)
        if compatibility != "dp":
            self.u = nn.Conv2d(self.channels, 1, 1, bias=False)
            draw_conv(self.u, init)

    def forward(self, l: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:  # noqa: E741  the paper's name
        l = self.project_local(l)  # noqa: E741
        g = self.project_global(g)[:, :, None, None]
        if self.compatibility == "dp":
            c = (l * g).sum(dim=1, keepdim=True)
        else:
            c = self.u(l)
            if self.compatibility == "pc":  # <u, l + g> without a sum as large as l
                c = c + self.u(g)
        attended = (self.mask(c).flatten(2) @ l.flatten(2).transpose(1, 2))[:, 0]
        return c, attended if self.normalize == "softmax" else attended / (l.shape[2] * l.shape[3])


class Ltpa(nn.Module):
    """{feature name: (B, C, H, W)} -> (B, classes). The last feature, averaged over space, is g.

    channels: {feature name: C}, shallow to deep;  levels: how many of the deepest local features are attended; a
    feature named `global` is not one of them, elsewhere the last feature is g and a level as well;
    compatibility: pc, dp, u;  normalize: softmax, sigmoid;  project: local, global;
    combine: concat, indep_logits, indep_log_probabilities;
    norm_vectors: BN, ReLU and dropout on every attended vector;  dropout: its rate;
    init: None, jetley2018, saoyan.
    Raises ConfigError for what is not among these, and for more levels than the backbone has.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        *,
        classes: int,
        levels: int = 3,
        compatibility: str = "pc",
        normalize: str = "softmax",
        project: str = "local",
        combine: str = "concat",
        norm_vectors: bool = False,
        dropout: float = 0.5,
        init: str | None = None,
    ) -> None:
        super().__init__()
        given = {"compatibility": compatibility, "normalize": normalize, "project": project, "combine": combine}
        for key, value in given.items():
            if value not in CHOICES[key]:
                raise ConfigError(f"wrong value head.{key}={value}; allowed are {', '.join(CHOICES[key])}")
        if not 0 <= dropout < 1:
            raise ConfigError(f"wrong value head.dropout={dropout}; allowed is a number from 0 to below 1")
        if init not in INITS:
            raise ConfigError(f"wrong value head.init={init}; allowed are null, {', '.join(filter(None, INITS))}")
        self.glob = list(channels)[-1]
        local = [name for name in channels if name != "global"]
        if not 1 <= levels <= len(local):
            raise ConfigError(
                f"wrong value head.levels={levels}; allowed is 1 to {len(local)}, the features {', '.join(local)}"
            )
        self.combine = combine
        self.levels = nn.ModuleDict(
            {
                name: Level(
                    channels[name],
                    channels[self.glob],
                    compatibility=compatibility,
                    normalize=normalize,
                    project=project,
                    dropout=dropout,
                    init=init,
                )
                for name in local[-levels:]
            }
        )
        widths = {name: int(level.channels) for name, level in self.levels.items()}  # type: ignore[arg-type]
        self.norms = nn.ModuleDict(
            {
                name: nn.Sequential(norm(width, init), nn.ReLU(), nn.Dropout(dropout))
                for name, width in widths.items()
                if norm_vectors
            }
        )
        inputs = {"all": sum(widths.values())} if combine == "concat" else widths
        self.classify = nn.ModuleDict({name: nn.Linear(width, classes) for name, width in inputs.items()})
        for linear in self.classify.values():
            draw_classifier(linear, init)  # type: ignore[arg-type]

    def maps(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{level: the scores c, (B, 1, H, W)}: softmax or sigmoid of them is the attention."""
        g = features[self.glob].mean(dim=(2, 3))
        return {name: level(features[name], g)[0] for name, level in self.levels.items()}

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        g = features[self.glob].mean(dim=(2, 3))
        vectors = {name: level(features[name], g)[1] for name, level in self.levels.items()}
        for name, layers in self.norms.items():
            vectors[name] = layers(vectors[name])
        if self.combine == "concat":
            return self.classify["all"](torch.cat(list(vectors.values()), dim=1))
        logits = torch.stack([self.classify[name](vector) for name, vector in vectors.items()])
        return (logits.log_softmax(dim=2) if self.combine == "indep_log_probabilities" else logits).sum(dim=0)
