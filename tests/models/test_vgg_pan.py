"""The VGGs that attend within: shapes and parameters of the authors' files, and their formula written out."""

import pytest
import torch
import torch.nn.functional as F

import attnlab
from attnlab.errors import ConfigError

PAN, HL, LL = [], ["model.gate=softmax"], ["model.gate=softmax", "model.gate_at=low"]
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def build(*overrides):
    return attnlab.build(attnlab.config(["experiment=ltpa_pan", "dataset=cifar10", *overrides])).double().eval()


def conv(i, o):
    """Weights of one conv 3x3 with bias and its BN."""
    return 9 * i * o + o + 2 * o


@pytest.mark.parametrize("variant", [PAN, HL, LL])
def test_parameters_are_the_sum_of_the_authors_layers(variant):
    """Their 1_vgg_*, 2_vgg_*, vgg_match.lua; the bias of the last score is cancelled by its softmax, and left out."""
    low = variant is LL
    width = 256 if low else 512
    first = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
    convs = [*first, (256, 512), *[(512, 512)] * 5, *[(width, width)] * (3 if low else 2), *[(512, 512)] * 2]
    linear = width * width + width + 512 * 512 + 512 + 512 * 10 + 10
    scores = width + 1 + 512
    expected = sum(conv(i, o) for i, o in convs) + linear + scores + 2 * 512
    assert expected == (21_551_947 if low else 24_698_955)
    assert sum(p.numel() for p in build(*variant).parameters()) == expected


@pytest.mark.parametrize(("variant", "local1"), [(PAN, (512, 16, 16)), (HL, (512, 16, 16)), (LL, (256, 32, 32))])
def test_shapes_and_gradients(variant, local1):
    net = build(*variant)
    features = net.backbone(X)
    shapes = {name: tuple(feature.shape[1:]) for name, feature in features.items()}
    assert shapes == {"local1": local1, "local2": (512, 8, 8), "global": (512, 1, 1)}
    assert net.backbone.channels == {name: shape[0] for name, shape in shapes.items()}
    maps = net.backbone.maps(X) | net.head.maps(features)
    assert {name: tuple(scores.shape) for name, scores in maps.items()} == {
        "local1": (2, 1, *local1[1:]), "local2": (2, 1, 8, 8),
    }  # fmt: skip
    net.train()(X).square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert float(net.backbone.gate.score.weight.grad.abs().sum()) > 0
    twice = build(*variant, "dataset.image_size=64", "model.max_image_size=64")
    assert twice.backbone(torch.randn(1, 3, 64, 64).double())["global"].shape == (1, 512, 1, 1)


def run(state, layers, x):
    """`layers`: how to pool (an integer), or whose conv-BN-ReLU: dropout is off, and nothing of ours is called."""
    for layer in layers:
        if isinstance(layer, int):
            x = F.max_pool2d(x, layer)
            continue
        part = {name.removeprefix(f"{layer}."): value for name, value in state.items() if name.startswith(f"{layer}.")}
        x = F.conv2d(x, part["conv.weight"], part["conv.bias"], padding=1)
        norm = [part[f"norm.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        x = F.relu(F.batch_norm(x, *norm, eps=1e-3))
    return x


def vector(state, name, x):
    """The linear layer on the flattened map."""
    return x.flatten(1) @ state[f"{name}.weight"].flatten(1).T + state[f"{name}.bias"]


@pytest.mark.parametrize("variant", [PAN, HL, LL])
def test_the_formula(variant):
    net = build(*variant)
    with torch.no_grad():  # biases and statistics are 0 and 1 at birth
        for tensor in net.state_dict().values():
            if tensor.dim() == 1:
                tensor += 0.1 * torch.rand(tensor.shape, generator=torch.Generator().manual_seed(1))
    state = {name.removeprefix("backbone."): value for name, value in net.state_dict().items()}
    first, second = [f"stage1.{n}" for n in range(7)], [f"stage2.{n}" for n in range(3)]
    low = variant is LL
    l1 = run(state, first if low else [*first, 2, *second], X)
    branch = [4, "global1.1", 2, "global1.3", 2, *(["global1.5", 2] if low else [])]
    g1 = vector(state, "global1.8" if low else "global1.6", run(state, branch, l1))
    u, b = state["gate.score.weight"][0, :, 0, 0], state["gate.score.bias"]
    c1 = torch.einsum("c,bchw->bhw", u, l1 + g1[:, :, None, None]) + b
    if variant is PAN:
        gate = 1 / (1 + torch.exp(-c1))
    else:
        gate = torch.exp(c1 - c1.amax(dim=(1, 2), keepdim=True))
        gate = gate / gate.sum(dim=(1, 2), keepdim=True)
    l2 = run(
        state,
        [2, *(second if low else []), *([2] if low else []), *[f"stage3.{n}" for n in range(3)]],
        gate[:, None] * l1,
    )
    g2 = vector(state, "global2.6", run(state, [2, "global2.1", 2, "global2.3", 2], l2))
    c2 = torch.einsum("c,bchw->bhw", state["head.levels.local2.u.weight"][0, :, 0, 0], l2 + g2[:, :, None, None])
    v = torch.einsum("bn,bcn->bc", c2.flatten(1).softmax(dim=1), l2.flatten(2))
    norm = [state[f"head.norms.local2.0.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    v = F.relu(F.batch_norm(v, *norm, eps=1e-5))
    logits = v @ state["head.classify.all.weight"].T + state["head.classify.all.bias"]
    assert torch.allclose(net(X), logits, rtol=1e-9, atol=1e-12)
    assert float(logits.std()) > 1e-3
    features = net.backbone(X)
    assert torch.allclose(features["local1"], gate[:, None] * l1)
    assert torch.allclose(net.backbone.maps(X)["local1"][:, 0], c1)
    assert torch.allclose(net.head.maps(features)["local2"][:, 0], c2)


def test_dropout_where_the_authors_have_it():
    """After each conv, .5 before each linear layer."""
    rates = [module.p for module in build().modules() if isinstance(module, torch.nn.Dropout)]
    locals_ = [0.3, 0, 0.4, 0, 0.4, 0.4, 0, *[0.4, 0.4, 0] * 2]
    branches = [0.4, 0.4, 0.5] * 2
    assert rates == locals_ + branches + [0.5]
    assert {m.p for m in build("model.dropout=false").backbone.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}


def test_the_authors_start():
    """MSRinit for convs, u included, whose one output makes its sd sqrt(2); the rest is Torch7's default."""
    net = build().requires_grad_(False).backbone
    assert float(net.gate.score.weight.std()) == pytest.approx(2**0.5, rel=0.1)
    assert float(net.gate.score.bias) == 0
    for branch in (net.global1, net.global2):
        dense = branch[-1]
        assert float(dense.weight.abs().max()) == pytest.approx(512**-0.5, rel=0.01)
        assert float(dense.weight.std()) == pytest.approx((3 * 512) ** -0.5, rel=0.02)
    norms = torch.cat([m.weight for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)])
    assert float(norms.mean()) == pytest.approx(0.5, abs=0.03)
    before = build("model.init=he", "model.norm_init=ones").requires_grad_(False).backbone
    assert float(before.global1[-1].weight.std()) == pytest.approx((2 / 512) ** 0.5, rel=0.02)


def test_slots_and_the_paired_start():
    bare = build().state_dict()
    for place, count in (("post", 17), ("conv", 17), ("stage", 3)):
        net = build("attention=se", f"attention.place={place}")
        assert sum(hasattr(module, "attention_place") for module in net.modules()) == count
        assert all(torch.equal(value, net.state_dict()[key]) for key, value in bare.items())
        assert net(X).shape == (2, 10)
    build("attention=ge_theta", "attention.place=post")(X)  # knows how large each map is
    build("attention=ge_theta", "attention.place=post", "model.gate_at=low")(X)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.gate=tanh", r"model\.gate=tanh; allowed are sigmoid, softmax"),
        ("model.init=xavier", r"model\.init=xavier; allowed are he, jetley2018"),
        ("model.norm_init=normal", r"model\.norm_init=normal; allowed are ones, uniform"),
        ("model.gate_at=mid", r"model\.gate_at=mid; allowed are high, low"),
        ("dataset.image_size=48", r"dataset\.image_size=48; .* multiples of 32"),
    ],
)
def test_bad_input(override, message):
    with pytest.raises(ConfigError, match=message):
        build(override)
