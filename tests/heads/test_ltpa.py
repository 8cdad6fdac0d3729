"""Learn To Pay Attention: the formulas written out, SaoYan's nets reproduced, every backbone a base for it."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import attnlab
from attnlab.configuration.groups import choices
from attnlab.errors import ConfigError
from attnlab.heads.ltpa import Ltpa
from attnlab.tables.grid import read_grid

REFERENCE = Path(__file__).parent.parent / "reference"
sys.path.insert(0, str(REFERENCE))
from rule import digest, values  # noqa: E402

SAOYAN = ["model=vgg_saoyan", "head=ltpa", "head.levels=3", "head.project=local", "head.norm_vectors=false"]
NETS = [f"saoyan_{maps}_{normalize}" for maps in ("before", "after") for normalize in ("softmax", "sigmoid")]


def build(*overrides):
    return attnlab.build(attnlab.config([*overrides]))


def params(*overrides):
    return sum(p.numel() for p in build(*overrides).parameters())


def test_saoyans_parameter_count():
    """papers.md 2.9 and the issue: after pooling, softmax, 100 classes."""
    assert params(*SAOYAN, "dataset=cifar100") == 19_993_764
    assert (
        params("model=vgg_saoyan", "head=linear", "dataset=cifar100") == 19_993_764 - 256 * 512 - 3 * 512 - 1024 * 100
    )


def theirs(ours: str) -> str:
    """SaoYan's name of one of our parameters or buffers."""
    place, *path, kind = ours.split(".")
    if place == "head":
        name = path[0]
        if name == "classify":
            return f"classify.{kind}"
        return f"projector.op.{kind}" if path[2] == "project_local" else f"attn{path[1][-1]}.op.{kind}"
    if path == ["dense"]:
        return f"dense.{kind}"
    group, number, layer = path
    index = int(number)
    if group == "local1":
        block, index = (1, index) if index < 2 else (2, index - 2) if index < 4 else (3, index - 4)
    else:
        block = {"local2": 4, "local3": 5, "global1": 6, "global2": 6}[group]
        index = 1 if group == "global2" else index
    step = 4 if block == 6 else 3  # pooling stands between the convs of the last block
    return f"conv_block{block}.op.{step * index + (layer == 'norm')}.{kind}"


@pytest.mark.parametrize("mode", ["train_4x3x32x32", "eval_2x3x32x32"])
@pytest.mark.parametrize("name", NETS)
def test_parity_with_saoyan(name, mode):
    """Logits, the three maps and every gradient, in float64."""
    _, maps, normalize = name.split("_")
    net = build(*SAOYAN, "dataset=cifar100", f"model.maps={maps}", f"head.normalize={normalize}").double()
    net.train(mode.startswith("train"))
    with np.load(REFERENCE / f"{name}.npz") as file:
        facts, stored = json.loads(str(file["about"])), {key: file[key] for key in file.files}
    shapes = dict(facts["state"])
    names = {}
    for key, tensor in net.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            names[key] = theirs(key)
            tensor.copy_(torch.from_numpy(values(names[key], shapes[names[key]], facts["seed"])))
    assert set(names.values()) == {key for key in shapes if not key.endswith("num_batches_tracked")}
    shape = tuple(int(n) for n in mode.split("_")[1].split("x"))
    x = torch.from_numpy(values("input", shape)).requires_grad_()
    features = net.backbone(x)
    logits = net.head(features)
    (logits * torch.from_numpy(values("cotangent", tuple(logits.shape)))).sum().backward()
    wanted = stored[f"{mode}/output"]
    assert np.abs(logits.detach().numpy() - wanted).max() < 1e-9 * np.abs(wanted).max()
    found = net.eval().head.maps(features) if mode.startswith("eval") else net.head.maps(features)
    for number, scores in enumerate(found.values(), start=1):
        wanted = stored[f"{mode}/map{number}"]
        assert np.abs(scores.detach().numpy() - wanted).max() < 1e-9 * np.abs(wanted).max()
    assert len(found) == 3
    gradients = {"input": x.grad} | {names[key]: p.grad for key, p in net.named_parameters()}
    for other, gradient in gradients.items():
        wanted = stored[f"{mode}/grad/{other}"]
        ours = digest(other, gradient.numpy())
        assert np.abs(ours - wanted).max() < 1e-8 * max(wanted[0], 1e-3), other


L = torch.randn(2, 6, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
G = torch.randn(2, 6, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def head(**knobs):
    torch.manual_seed(0)
    return Ltpa({"local1": 6, "global": 6}, classes=5, levels=1, **knobs).double().eval()


@pytest.mark.parametrize("compatibility", ["pc", "dp", "u"])
@pytest.mark.parametrize("normalize", ["softmax", "sigmoid"])
def test_formulas(compatibility, normalize):
    net = head(compatibility=compatibility, normalize=normalize)
    level = net.levels["local1"]
    c = torch.zeros(2, 3, 4, dtype=torch.float64)
    for b in range(2):
        for i in range(3):
            for j in range(4):
                at, g = L[b, :, i, j], G[b, :, 0, 0]
                u = level.u.weight[0, :, 0, 0] if compatibility != "dp" else None
                c[b, i, j] = at @ g if u is None else u @ (at + g) if compatibility == "pc" else u @ at
    if normalize == "softmax":
        v = ((c.exp() / c.exp().sum(dim=(1, 2), keepdim=True))[:, None] * L).sum(dim=(2, 3))
    else:
        v = (torch.sigmoid(c)[:, None] * L).mean(dim=(2, 3))
    features = {"local1": L, "global": G}
    assert torch.allclose(net.maps(features)["local1"][:, 0], c)
    assert torch.allclose(net(features), net.classify["all"](v))


@pytest.mark.parametrize(
    ("normalize", "compatibility", "counts"),
    [
        ("softmax", "pc", False),
        ("sigmoid", "pc", True),
        ("softmax", "dp", True),
        ("softmax", "u", False),
    ],
)
def test_where_the_global_vector_counts(normalize, compatibility, counts):
    """<u, l + g> = <u, l> + <u, g>: over positions the second is a constant, which a softmax cancels."""
    net = head(compatibility=compatibility, normalize=normalize)
    one, other = net({"local1": L, "global": G}), net({"local1": L, "global": G.flip(1)})
    assert torch.allclose(one, other, atol=1e-12) is not counts


@pytest.mark.parametrize("project", ["local", "global"])
def test_projection_where_channels_differ(project):
    torch.manual_seed(0)
    net = Ltpa({"local1": 4, "local2": 6, "global": 6}, classes=5, levels=2, project=project)
    widths = {"local": 6, "global": 4}
    assert net.levels["local1"].channels == widths[project]
    assert net.classify["all"].in_features == widths[project] + 6
    features = {"local1": torch.randn(3, 4, 8, 8), "local2": torch.randn(3, 6, 4, 4), "global": torch.randn(3, 6, 1, 1)}
    net(features).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_the_projection_of_the_global_vector():
    """BN, ReLU, dropout, linear, written out; bias and statistics such that about half of g is cut off."""
    torch.manual_seed(0)
    net = Ltpa({"local1": 4, "global": 6}, classes=5, levels=1, project="global", compatibility="dp").double().eval()
    norm, *_, linear = net.levels["local1"].project_global
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    g = G[:, :, 0, 0]
    g = (g - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    g = g.clamp(min=0) @ linear.weight.T + linear.bias
    l = L[:, :4]  # noqa: E741
    torch.testing.assert_close(net.maps({"local1": l, "global": G})["local1"][:, 0], torch.einsum("bchw,bc->bhw", l, g))


def test_independent_classifiers():
    torch.manual_seed(0)
    made = {
        combine: Ltpa({"a": 6, "b": 6}, classes=5, levels=2, combine=combine).double().eval()
        for combine in ("indep_logits", "indep_log_probabilities")
    }
    a, b = made.values()
    b.load_state_dict(a.state_dict())
    features = {"a": L, "b": L.flip(1)}
    g = features["b"].mean(dim=(2, 3))
    logits = [a.classify[name](a.levels[name](features[name], g)[1]) for name in ("a", "b")]
    assert torch.allclose(a(features), logits[0] + logits[1])
    assert torch.allclose(b(features), logits[0].log_softmax(1) + logits[1].log_softmax(1))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_independent_classifiers_areare_one_model(smoothing):
    """Their outputs differ by one number an image, which cross entropy cannot see: loss, gradients, probabilities."""
    loss, gradients, outputs = [], [], []
    for combine in ("indep_logits", "indep_log_probabilities"):
        torch.manual_seed(0)
        net = Ltpa({"a": 6, "b": 6}, classes=5, levels=2, combine=combine, norm_vectors=True, dropout=0.0).double()
        outputs.append(net({"a": L, "b": L.flip(1)}))
        loss.append(nn.functional.cross_entropy(outputs[-1], torch.tensor([1, 4]), label_smoothing=smoothing))
        gradients.append(torch.autograd.grad(loss[-1], list(net.parameters())))
    constant = outputs[0] - outputs[1]
    assert float(constant.detach().abs().min()) > 0.1
    torch.testing.assert_close(constant, constant[:, :1].expand(-1, 5))
    torch.testing.assert_close(*(output.softmax(1) for output in outputs), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(*loss, rtol=1e-12, atol=1e-14)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-14)


def test_the_tables_name_them_once():
    for data in ("cifar10", "cifar100", "svhn"):
        cells = read_grid([f"table=ltpa_{data}"]).cells
        named = {str(cell.config["head"].get("combine")) for cell in cells if "indep" in cell.row}
        assert named == {"indep_logits"}


def spread(weight):
    return float(weight.detach().std()), float(weight.detach().abs().max())


def test_the_authors_start():
    """u normal of sd sqrt(2): MSRinit, 2 / outputs, of one output. Linear layers U(-b, b), b = inputs**-0.5, their sd
    b / sqrt(3): classifier 0.016, projection and dense 0.026 (papers' code run by hand). BN weights U(0, 1)."""
    net = build("experiment=ltpa_jetley", "head.levels=3", "dataset=cifar100")
    for level in net.head.levels.values():
        assert spread(level.u.weight)[0] == pytest.approx(2**0.5, rel=0.15)
    projection = net.head.levels["local1"].project_global
    for layer, inputs, sd in (
        (net.head.classify["all"], 1280, 0.016),
        (projection[-1], 512, 0.026),
        (net.backbone.dense, 512, 0.026),
    ):
        assert spread(layer.weight) == pytest.approx(((3 * inputs) ** -0.5, inputs**-0.5), rel=0.02)
        assert round(spread(layer.weight)[0], 3) == sd
        assert 0.8 * inputs**-0.5 < spread(layer.bias)[1] <= inputs**-0.5
    for norm in (projection[0], *(norms[0] for norms in net.head.norms.values()), net.backbone.local1[0].norm):
        assert 0 <= float(norm.weight.detach().min()) < 0.1
        assert 0.9 < spread(norm.weight)[1] <= 1


def test_saoyans_classifier():
    """initialize.py: Xavier with gain sqrt(2); 0.0496 is its sd with 100 classes."""
    net = build("experiment=ltpa_saoyan")
    classify = net.head.classify["all"]
    assert spread(classify.weight)[0] == pytest.approx((2 * 2 / (1536 + 100)) ** 0.5, rel=0.01)
    assert spread(classify.weight)[0] == pytest.approx(0.0496, rel=0.01)
    assert spread(classify.bias) == (0, 0)
    plain = build("experiment=ltpa_saoyan", "head.init=null")
    assert all(
        torch.equal(value, plain.state_dict()[key]) for key, value in net.state_dict().items() if "classify" not in key
    )


def attended(*overrides):
    """Positions that each level attends to at birth, 1 / sum a^2, of random images; mean over images and draws."""
    found = []
    for seed in range(3):
        net = build("head.levels=3", "dataset=cifar10", f"seed={seed}", *overrides)
        images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            maps = net.head.maps(net.backbone(images))
        a = [scores.flatten(1).double().softmax(dim=1) for scores in maps.values()]
        found.append(torch.stack([1 / level.square().sum(dim=1) for level in a]).mean(dim=1))
    return torch.stack(found).mean(dim=0).tolist()


def test_the_authors_attention_is_peaked_at_birth():
    """An audit counted 1.5 positions of 1024, 1.5 of 256, 1.1 of 64, with BN weights of 1. Without head.init dozens to
    hundreds are attended to."""
    audited = attended("model=vgg_jetley", "model.norm_init=ones", "head=ltpa_jetley")
    assert audited == pytest.approx([1.5, 1.5, 1.1], abs=0.4)
    assert max(attended("experiment=ltpa_jetley")) < 3
    flat = attended("model=vgg_ltpa", "head=ltpa")
    assert all(count > positions / 6 for count, positions in zip(flat, (1024, 256, 64), strict=True))


def test_the_authors_head_has_1280_inputs():
    """papers.md 2.2: att3 1280, att2 1024, att1 512."""
    for levels, width in ((3, 1280), (2, 1024), (1, 512)):
        net = build("model=vgg_ltpa", "head=ltpa", f"head.levels={levels}")
        assert net.head.classify["all"].in_features == width
        assert len(net.head.norms) == levels


@pytest.mark.parametrize("model", [name for name in choices("model") if name not in ("timm", "torchvision", "own")])
def test_every_backbone_is_a_base(model):
    net = build(f"model={model}", "head=ltpa", "attention=none").eval()
    features = net.backbone(torch.randn(1, 3, 32, 32))
    maps = net.head.maps(features)
    assert list(maps) == [name for name in net.backbone.channels if name != "global"][-2:]
    for name, scores in maps.items():
        assert scores.shape == (1, 1, *features[name].shape[2:])
    assert net.head(features).shape == (1, 10)


def test_with_attention_and_on_timms_nets():
    overrides = ["model=timm", "model.name=resnet18", "dataset=imagenet", "head=ltpa", "head.levels=3", "attention=se"]
    net = build(*overrides)
    net(torch.randn(2, 3, 64, 64)).sum().backward()
    assert list(net.head.levels) == ["stage2", "stage3", "stage4"]
    assert all(p.grad is not None for p in net.parameters())


def test_dropout_rates_of_the_authors():
    units = [
        unit for name in ("local1", "local2", "local3") for unit in getattr(build("model=vgg_ltpa").backbone, name)
    ]
    rates = [unit.dropout.p if hasattr(unit, "dropout") else 0.0 for unit in units]
    assert rates == [0.3, 0, 0.4, 0, 0.4, 0.4, 0, *[0.4, 0.4, 0] * 2]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["head=ltpa", "head.dropout=1"], r"head\.dropout=1; allowed is a number from 0 to below 1"),
        (["head=ltpa", "head.dropout=-0.1"], r"head\.dropout=-0\.1; allowed is a number from 0 to below 1"),
        (["head=ltpa", "head.levels=4"], r"head\.levels=4; allowed is 1 to 3, the features stage1, stage2, stage3"),
        (["head=ltpa", "head.compatibility=cos"], r"head\.compatibility=cos; allowed are pc, dp, u"),
        (["model=vgg_ltpa", "model.maps=within"], r"model\.maps=within; allowed are before, after"),
        (["model=vgg_ltpa", "dataset.image_size=48"], r"dataset\.image_size=48; .* multiples of 32"),
        (["model=vgg_ltpa", "model.init=zero"], r"model\.init=zero; allowed are he, jetley2018, xavier"),
        (["head=ltpa", "head.init=he"], r"head\.init=he; allowed are null, jetley2018, saoyan"),
    ],
)
def test_bad_input(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build(*overrides)
