"""Our modules against the authors' own, or timm's: outputs, gradients, running statistics (tests/reference).

In float64. How many are held to whose code: test_claims.py.
"""

import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from attnlab.attention.placement import make_attention
from attnlab.configuration.compose import compose_file, plain
from tests.attention.module_pairs import MODULE_PAIRS

REFERENCE = Path(__file__).parent.parent / "reference"
sys.path.insert(0, str(REFERENCE))
from rule import digest, values  # noqa: E402

CHANNELS = 64
TOLERANCE = 1e-9  # relative to the norm; the issue asks for 1e-5

CBAM = {
    "channel.score.excite.reduce": "ChannelGate.mlp.1",
    "channel.score.excite.expand": "ChannelGate.mlp.3",
    "spatial.score.conv": "SpatialGate.spatial.conv",
    "spatial.score.norm": "SpatialGate.spatial.bn",
}
BAM_SPATIAL = {
    "0": "conv_reduce0", "1": "bn_reduce0", "3": "conv_di_0", "4": "bn_di_0", "6": "conv_di_1", "7": "bn_di_1",
    "9": "conv_final",
}  # fmt: skip
#: reference file -> (overrides, {our prefix: the original's prefix}, what the original has and we leave out)
PAIRS: dict[str, tuple[list[str], dict[str, str], set[str]]] = {
    "se": (["attention=se"], {"score.excite.reduce": "fc1", "score.excite.expand": "fc2"}, set()),
    "eca": (["attention=eca_official"], {"score.conv": "conv"}, set()),
    "cbam": (["attention=cbam"], CBAM, set()),
    "cbams": (
        ["attention=cbams"],
        {ours: theirs for ours, theirs in CBAM.items() if ours.startswith("spatial")},
        {f"ChannelGate.mlp.{layer}.{kind}" for layer in (1, 3) for kind in ("weight", "bias")},  # never called there
    ),
    "bam": (
        ["attention=bam_official"],
        {
            "score.excite.reduce": "channel_att.gate_c.gate_c_fc_0",
            "score.channel_norm": "channel_att.gate_c.gate_c_bn_1",
            "score.excite.expand": "channel_att.gate_c.gate_c_fc_final",
        }
        | {f"score.spatial.{n}": f"spatial_att.gate_s.gate_s_{name}" for n, name in BAM_SPATIAL.items()},
        set(),
    ),
    "bams": (
        ["attention=bams"],
        {f"score.{n}": f"spatial_att.gate_s.gate_s_{name}" for n, name in BAM_SPATIAL.items()},
        set(),
    ),
    "simam": (["attention=simam"], {}, set()),
    "srm": (["attention=srm"], {"score.weight": "cfc", "score.norm": "bn"}, set()),
    "sge": (["attention=sge", "attention.groups=8"], {"score": ""}, set()),
    "coordinate": (
        ["attention=coordinate"],
        {"shared": "conv1", "norm": "bn1", "rows.score": "conv_h", "columns.score": "conv_w"},
        set(),
    ),
    "triplet": (
        ["attention=triplet"],
        {
            f"gates.{name}.score.score.{ours}": f"{name}.conv.{theirs}"
            for name in ("hw", "cw", "hc")
            for ours, theirs in (("conv", "conv"), ("norm", "bn"))
        },
        set(),
    ),
    "gc": (
        ["attention=gc"],
        {
            "query": "conv_mask",
            "reduce": "channel_add_conv.0",
            "norm": "channel_add_conv.1",
            "expand": "channel_add_conv.3",
        },
        {"conv_mask.bias"},  # the softmax cancels it
    ),
    "ge_theta_minus": (["attention=ge_theta_minus"], {}, set()),
    "ge_theta_minus_e4": (["attention=ge_theta_minus", "attention.extent=4"], {}, set()),
    "ge_theta_e2": (
        ["attention=ge_theta", "attention.extent=2"],
        {"score.gather.layers.0": "gather.conv1", "score.gather.layers.1": "gather.norm1"},
        set(),
    ),
    "ge_theta_e4": (
        ["attention=ge_theta", "attention.extent=4"],
        {
            f"score.gather.layers.{3 * (n - 1) + offset}": f"gather.{kind}{n}"
            for n in (1, 2)
            for offset, kind in ((0, "conv"), (1, "norm"))
        },
        set(),
    ),
    "ge_srm": (
        ["attention=ge_theta"],
        {"score.gather.layers.0": "conv.0", "score.gather.layers.1": "conv.1"},
        {"conv.0.bias"},  # the authors' Caffe files have none; below it is taken into the running mean
    ),
    "sk_timm": (
        ["attention=sk", "attention.groups=32"],
        {
            **{f"paths.{n}.0": f"paths.{n}.conv" for n in (0, 1)},
            **{f"paths.{n}.1": f"paths.{n}.bn" for n in (0, 1)},
            "reduce": "attn.fc_reduce",
            "norm": "attn.bn",
            "select": "attn.fc_select",
        },
        set(),
    ),
    "sresnet": (
        ["attention=small_spatial"],
        {"score.gather1": "gather.1", "score.gather2": "gather.3", "score.excite": "excite.0"},
        set(),
    ),
    **MODULE_PAIRS,
}


def stored(name: str) -> tuple[dict, dict[str, np.ndarray]]:
    with np.load(REFERENCE / f"{name}.npz") as file:
        return json.loads(str(file["about"])), {key: file[key] for key in file.files if key != "about"}


def theirs(ours: str, prefixes: dict[str, str]) -> str:
    """The original's name of one of our parameters or buffers."""
    for prefix, other in sorted(prefixes.items(), key=lambda item: -len(item[0])):
        if ours == prefix:
            return other
        if ours.startswith(f"{prefix}."):
            return f"{other}.{ours.removeprefix(f'{prefix}.')}".lstrip(".")
    return ours


@cache
def node_of(*overrides: str) -> dict:
    return plain(compose_file("run", overrides))["attention"]


def ours_for(name: str, shape: tuple[int, ...], overrides: list[str] | None = None) -> torch.nn.Module:
    """Our module for an input of this shape; a name that ends in `_s2` replaces a convolution of stride 2."""
    node = node_of(*(overrides or PAIRS[name][0]))
    stride = 2 if name.endswith("_s2") else 1
    known = {"size": shape[2] // stride}
    if node["place"] == "kernel":
        known |= {"in_channels": shape[1], "stride": stride}
    return make_attention(node, CHANNELS, **known).double()


def fill(net: torch.nn.Module, name: str, facts: dict) -> dict[str, str]:
    """The rule's weights, by the original's names and shapes; returns {the original's name: ours}."""
    shapes = dict(facts["state"])
    names = {}
    for key, tensor in net.state_dict().items():
        if not tensor.is_floating_point():
            continue
        other = theirs(key, PAIRS[name][1])
        wanted = values(other, shapes[other], facts["seed"])
        if name == "ge_srm" and other.endswith("running_mean"):
            wanted = wanted - values("conv.0.bias", shapes["conv.0.bias"], facts["seed"])
        assert wanted.size == tensor.numel(), f"{key} does not fit"
        tensor.copy_(torch.from_numpy(wanted).reshape(tensor.shape))
        names[other] = key
    return names


def worst(name: str, case: str, overrides: list[str] | None = None) -> float:
    """The largest relative difference of one case: output, gradients, running statistics."""
    facts, arrays = stored(name)
    mode, text = case.split("_")
    shape = tuple(int(n) for n in text.split("x"))
    net = ours_for(name, shape, overrides).train(mode == "train")
    names = fill(net, name, facts)
    x = torch.from_numpy(values("input", shape)).requires_grad_()
    y = net(x)
    (y * torch.from_numpy(values("cotangent", tuple(y.shape)))).sum().backward()
    ours = {"output_digest": digest("output", y.detach().numpy()), "grad/input": digest("input", x.grad.numpy())}
    for other, key in names.items():
        if key in dict(net.named_parameters()):
            gradient = net.get_parameter(key).grad.reshape(dict(facts["state"])[other])
            ours[f"grad/{other}"] = digest(other, gradient.numpy())
        elif mode == "train" and name != "ge_srm":
            ours[f"after/{other}"] = digest(other, net.get_buffer(key).numpy())
    found = {key: array for key, array in arrays.items() if key.startswith(f"{case}/")}
    left_out = {f"{kind}/{other}" for other in PAIRS[name][2] for kind in ("grad", "after")}
    differences = []
    for key, wanted in found.items():
        kind = key.removeprefix(f"{case}/")
        if kind == "output":
            differences.append(np.linalg.norm(y.detach().numpy() - wanted) / np.linalg.norm(wanted))
        elif kind in ours:
            differences.append((np.abs(ours[kind] - wanted).max() - 1e-9) / max(wanted[0], 1e-9))
        else:
            assert kind in left_out or (name == "ge_srm" and kind.startswith("after/")), f"{kind} does not fit"
    assert len(differences) >= 2
    assert np.isfinite(differences).all()
    return float(max(differences))


CASES = [(name, case) for name in PAIRS for case in stored(name)[0]["cases"]]


def test_every_reference_file_is_used_and_small():
    files = {path.stem: path.stat().st_size for path in REFERENCE.glob("*.npz")}
    assert {name for name in files if not name.startswith(("saoyan", "laakom", "csra"))} == set(PAIRS)
    assert max(files.values()) < 200_000


def test_the_rule_draws_what_it_drew():
    assert values("input", (3,)).tolist() == stored("se")[0]["input_head"]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_parity_with_the_authors_code(name, case):
    assert worst(name, case) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cbam", "attention.planes=mean-max"),
        ("cbam", "attention.order=spatial-channel"),
        ("cbam", "attention.order=parallel"),
        ("cbam", "attention.squeeze=avg"),
        ("cbam", "attention/mask=attend_floor"),
        ("se", "attention.squeeze=max"),
        ("se", "attention/mask=ignore"),
        ("se", "attention.apply=residual"),
        ("bam", "attention.apply=scale"),
        ("bam", "attention.dilation=2"),
        ("simam", "attention.regularization=1e-3"),
        ("ge_theta_minus_e4", "attention.extent=2"),
        ("polarized_parallel", "attention/mask=ignore"),
        ("criss_cross", "attention.recurrence=1"),
        ("ela", "attention.groups=8"),
        ("scsa", "attention.window=4"),
        ("scsa", "attention.heads=4"),
        ("lsk", "attention/mask=attend"),
        ("ese", "attention/mask=attend"),
        ("mlca", "attention.local=0.25"),
        ("soca", "attention.iterations=4"),
    ],
)
def test_parity_notices_a_change(name, change):
    """Pooling order, mask, dilation: parity does not hold for another module."""
    assert max(worst(name, case, [*PAIRS[name][0], change]) for case in stored(name)[0]["cases"]) > 1e-4


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cbam", "attention.norm=false"),
        ("se", "attention.reduction=8"),
        ("sge", "attention.groups=16"),
        ("eca", "attention.kernel_size=5"),
        ("triplet", "attention.kernel_size=5"),
        ("coordinate", "attention.reduction=4"),
        ("ema", "attention.groups=16"),
        ("shuffle_attention", "attention.groups=8"),
        ("epsa_s2", "attention.reduction=16"),
        ("danet", "attention.reduction=4"),
        ("split_attention", "attention.groups=2"),
        ("external", "attention.units=32"),
        ("lska", "attention.kernel_size=11"),
        ("axial", "attention.heads=4"),
    ],
)
def test_another_ratio_or_norm_does_not_fit(name, change):
    """The original's weights fit one module alone."""
    with pytest.raises(AssertionError, match="does not fit"):
        worst(name, stored(name)[0]["cases"][0], [*PAIRS[name][0], change])
