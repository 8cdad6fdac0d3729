"""timm's modules of the same name as ours, with the same hyper-parameters: config nodes of `attention`.

Not timm's variants of a paper: SE without its least of 8 hidden channels, CBAM's MLP with biases as the official
code, GC that adds, as in the paper, coordinate attention with the paper's ratio. GE is the one without parameters: timm
1.0.31 cannot build the others (*dd for **dd in gather_excite.py: TypeError). One weight differs: GC's query has a bias
in timm, which the softmax cancels.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from attnlab.attention.placement import make_attention
from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.identity import OF_SLOTS

SE = {"_target_": "timm.layers.SEModule", "rd_ratio": 1 / 16, "rd_divisor": 1}
ECA = {"_target_": "timm.layers.EcaModule"}
CBAM = {"_target_": "timm.layers.cbam.CbamModule", "rd_ratio": 1 / 16, "mlp_bias": True}
GE = {"_target_": "timm.layers.GatherExcite", "use_mlp": False}
GC = {
    "_target_": "timm.layers.GlobalContext", "fuse_add": True, "fuse_scale": False, "rd_ratio": 1 / 16, "rd_divisor": 4,
}  # fmt: skip
COORDINATE = {
    "_target_": "timm.layers.coord_attn.CoordAttn", "rd_ratio": 1 / 32, "rd_divisor": 8, "se_factor": 1.0, "bias": True,
}  # fmt: skip

#: name -> (our conf/attention/<it>.yaml, our overrides, timm's node, the hyper-parameters in words)
TWINS: dict[str, tuple[str, tuple[str, ...], Mapping[str, Any], str]] = {
    "se": ("se", (), SE, "r 16, biases"),
    "eca": ("eca", (), ECA, "adaptive k"),
    "cbam": ("cbam", (), CBAM, "r 16, biases, k 7, BN"),
    "ge_theta_minus": ("ge_theta_minus", (), GE, "extent 0"),
    "ge_theta_minus_4": ("ge_theta_minus", ("attention.extent=4",), GE | {"extent": 4}, "extent 4"),
    "gc": ("gc", (), GC, "r 16, at least 4"),
    "coordinate": ("coordinate", (), COORDINATE, "r 32, at least 8"),
}


def nodes(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The config nodes (ours, timm's) of one of TWINS; timm's stands in the same place."""
    choice, overrides, twin, _ = TWINS[name]
    ours = plain(compose_file("run", [f"attention={choice}", *overrides]))["attention"]
    return ours, {key: ours[key] for key in ("place", *OF_SLOTS)} | dict(twin)


def pair(name: str, channels: int, size: int) -> tuple[nn.Module, nn.Module]:
    """The modules (ours, timm's) for maps (B, channels, size, size), both with weights of seed 0."""
    ours, timms = (make_attention(node, channels, size=size, in_channels=channels) for node in nodes(name))
    return ours, timms
