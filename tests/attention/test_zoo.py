"""What parity does not cover: formulas written out, the modules' second inputs, and chains through a whole net."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import attnlab
from attnlab.attention.bam import BAM
from attnlab.attention.cbam import SpatialScore, cbam
from attnlab.attention.dca import DCASE
from attnlab.attention.double import DoubleAttention
from attnlab.attention.eca import adaptive_kernel_size
from attnlab.attention.fca import COLUMNS, ROWS, Fca
from attnlab.attention.gate import Gate
from attnlab.attention.gather_excite import GEThetaPlus
from attnlab.attention.masks import Attend
from attnlab.attention.non_local import NonLocal
from attnlab.attention.pfaam import PfAAM
from attnlab.attention.pse import CPSE, PSE
from attnlab.attention.rezero import Eased
from attnlab.attention.se import SE
from attnlab.configuration.compose import check
from attnlab.configuration.groups import choices
from attnlab.configuration.names import read_choice
from attnlab.data.build import make_datamodule
from attnlab.errors import ConfigError

X = torch.randn(3, 32, 7, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def stirred(module: nn.Module) -> nn.Module:
    """In float64 and eval mode, away from weights that start at zero."""
    torch.manual_seed(1)
    module = module.double().eval()
    for parameter in module.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    return module


def gate(score):
    return Gate(score, Attend())


@pytest.mark.parametrize(("channels", "k"), [(16, 3), (64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)])
def test_eca_adaptive_kernel(channels, k):
    """The odd number nearest below |log2(C)/2 + 1/2| or one above it, as the official code rounds."""
    assert adaptive_kernel_size(channels) == k


def test_se_squeezes():
    score = stirred(SE(32, squeeze="max"))
    assert torch.allclose(score(X)[:, :, 0, 0], score.excite(X.flatten(2).max(dim=2).values), rtol=1e-12)
    score = stirred(SE(32, squeeze="none"))
    z = score(X)
    assert z.shape == X.shape
    assert torch.allclose(z[1, :, 2, 5], score.excite(X[1, :, 2, 5]), rtol=1e-10)
    with pytest.raises(ConfigError, match=r"attention\.squeeze=mean; allowed are avg, max, none"):
        SE(32, squeeze="mean")


def test_cbam_orders():
    made = {o: stirred(cbam(32, gate=gate, order=o)) for o in ("channel-spatial", "spatial-channel", "parallel")}
    added = stirred(cbam(32, gate=gate, order="added"))
    channel, spatial = made["channel-spatial"].channel, made["channel-spatial"].spatial
    for net in made.values():
        net.channel.load_state_dict(channel.state_dict())
        net.spatial.load_state_dict(spatial.state_dict())
    assert torch.allclose(made["channel-spatial"](X), spatial(channel(X)))
    assert torch.allclose(made["spatial-channel"](X), channel(spatial(X)))
    masks = [Attend()(g.score(X)) for g in (channel, spatial)]
    assert torch.allclose(made["parallel"](X), X * masks[0] * masks[1])
    added.score.channel.load_state_dict(channel.score.state_dict())
    added.score.spatial.load_state_dict(spatial.score.state_dict())
    assert torch.allclose(added(X), X * torch.sigmoid(channel.score(X) + spatial.score(X)))  # section 4.1: one sigmoid
    for order in ("channel", "spatial"):
        assert [name for name, _ in cbam(32, gate=gate, order=order).named_children()] == [order]
    with pytest.raises(ConfigError, match=r"attention\.order=both; allowed are channel-spatial"):
        cbam(32, gate=gate, order="both")


def test_cbam_planes_by_convolution():
    score = stirred(SpatialScore(32, planes="conv", norm=False))
    z = F.conv2d(F.conv2d(X, score.pool.weight), score.conv.weight, padding=3)
    assert torch.allclose(score(X), z, rtol=1e-12)


def test_bam_of_the_paper_adds_its_branches():
    score = stirred(BAM(32))
    z = score(X)
    channel = score.channel_norm(score.excite(X.mean(dim=(2, 3))))[:, :, None, None]
    assert torch.allclose(z - channel, score.spatial(X).expand_as(X), rtol=1e-9)
    assert isinstance(score.spatial[-1], nn.BatchNorm2d)
    dilations = [layer.dilation for layer in score.spatial if isinstance(layer, nn.Conv2d)]
    assert dilations == [(1, 1), (4, 4), (4, 4), (1, 1)]


def test_ge_theta_plus():
    x = X[..., :7]
    score = stirred(GEThetaPlus(32, size=7))
    conv, norm = score.gather.layers
    gathered = F.relu(norm(F.conv2d(x, conv.weight, groups=32)))
    assert torch.allclose(score(x)[:, :, 0, 0], score.excite(gathered[:, :, 0, 0]), rtol=1e-10)


def test_fca_pools_with_cosines():
    score = stirred(Fca(32))
    height, width = X.shape[2:]

    def wave(frequency, size, i):
        f = frequency * max(size // 7, 1)
        return math.cos(math.pi * f * (i + 0.5) / size) / math.sqrt(size) * (math.sqrt(2) if f else 1)

    pooled = torch.zeros(3, 32, dtype=torch.float64)
    for c in range(32):
        u, v = ROWS[c // 2], COLUMNS[c // 2]
        for i in range(height):
            for j in range(width):
                pooled[:, c] += X[:, c, i, j] * wave(u, height, i) * wave(v, width, j)
    assert torch.allclose(score(X)[:, :, 0, 0], score.excite(pooled), rtol=1e-5)  # the cosines are float32
    with pytest.raises(ConfigError, match="24; allowed are multiples of 16"):
        Fca(24)


def test_non_local():
    net = stirred(NonLocal(32, pool=1))
    theta, phi, g = (conv(X).flatten(2) for conv in (net.theta, net.phi, net.g))
    weights = torch.einsum("bci,bcj->bij", theta, phi).softmax(dim=2)
    y = X + net.out(torch.einsum("bij,bcj->bci", weights, g).unflatten(2, (7, 9)))
    assert torch.allclose(net(X), y, rtol=1e-8)


def test_double_attention():
    net = stirred(DoubleAttention(32))
    phi, theta, rho = (conv(X).flatten(2) for conv in (net.phi, net.theta, net.rho))
    z = torch.einsum("bmi,bni,bnj->bmj", phi, theta.softmax(dim=2), rho.softmax(dim=1))
    assert torch.allclose(net(X), X + net.out(z.unflatten(2, (7, 9))), rtol=1e-8)


def test_additive_modules_start_as_identity():
    for attention in ADDITIVE:
        bare = attnlab.build(attnlab.config(["model=resnet8", "attention=none"])).eval()
        net = attnlab.build(attnlab.config(["model=resnet8", f"attention={attention}"])).eval()
        images = torch.randn(2, 3, 16, 16)
        assert torch.equal(bare(images), net(images))


def test_pfaam():
    z = PfAAM(32)(X)
    assert torch.allclose(z[2, 5, 3, 4], X[2, :, 3, 4].mean() * X[2, 5].mean())


def test_pse_gates_the_branch_by_the_blocks_input():
    """Another input to the block changes the mask; what the branch computes does not."""
    made = gate(stirred(PSE(32, in_channels=16)))
    u = torch.randn(3, 16, 14, 18, dtype=torch.float64)
    s = torch.sigmoid(made.score.excite(u.mean(dim=(2, 3))))[:, :, None, None]
    assert torch.allclose(made(X, u), X * s, rtol=1e-10)
    score = stirred(CPSE(32, in_channels=16))
    matched = F.relu(score.match[1](F.conv2d(u, score.match[0].weight)))
    assert torch.allclose(score(u)[:, :, 0, 0], score.excite(matched.mean(dim=(2, 3))), rtol=1e-9)
    assert isinstance(CPSE(32, in_channels=32).match, nn.Identity)


def test_a_block_hands_its_input_to_pse():
    net = attnlab.build(attnlab.config(["model=resnet8", "attention=pse"])).double().eval()
    block = net.backbone.stage2[0]
    x = torch.randn(2, 16, 8, 8, dtype=torch.float64)
    branch = block.norm2(block.conv2(F.relu(block.norm1(block.conv1(x)))))
    assert torch.allclose(block(x), F.relu(block.at_branch(branch, x) + block.shortcut(x)))
    assert not torch.allclose(block.at_branch(branch, x), block.at_branch(branch, 2 * x))


def test_dca_hands_its_attention_on():
    first, second = DCASE(32), None
    second = stirred(DCASE(32, previous=first))
    stirred(first)
    first_z = first(X)
    pooled = X.mean(dim=(2, 3))
    attended = pooled * torch.sigmoid(first_z[:, :, 0, 0])
    weights, bias = second.weigh.weight[0], second.weigh.bias
    a = F.relu(second.norm(weights[0] * pooled + weights[1] * attended + bias))
    assert torch.allclose(second(X)[:, :, 0, 0], second.excite(a), rtol=1e-10)
    assert first.attended is None  # taken: nothing is kept
    with pytest.raises(RuntimeError, match="has not run"):
        second(X)


def test_dca_runs_through_a_whole_net():
    net = attnlab.build(attnlab.config(["model=resnet8", "attention=dca_se"]))
    scores = [m for m in net.modules() if isinstance(m, DCASE)]
    assert [score.before[0] for score in scores] == [None, *scores[:-1]]
    assert [score.followed for score in scores] == [True, True, False]
    images = torch.randn(4, 3, 16, 16)
    net(images).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    twin = copy.deepcopy(net).eval()
    assert torch.equal(twin(images), net.eval()(images))
    assert [m for m in twin.modules() if isinstance(m, DCASE)][1].before[0] is not scores[0]
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(images), net(images), atol=1e-6)
    torch._dynamo.reset()


def test_sk_takes_the_place_of_a_convolution():
    net = attnlab.build(attnlab.config(["model=resnet8", "attention=sk"]))
    block = net.backbone.stage2[0]
    assert isinstance(block.conv1, nn.Identity)
    assert isinstance(block.norm1, nn.Identity)
    assert [path[0].stride for path in block.at_kernel.paths] == [(2, 2), (2, 2)]
    assert [path[0].dilation for path in block.at_kernel.paths] == [(1, 1), (2, 2)]
    bare = attnlab.build(attnlab.config(["model=resnet8", "attention=none"])).state_dict()
    state = net.state_dict()
    shared = [name for name in bare if name in state]
    assert set(bare) - set(state) == {n for n in bare if ".conv1." in n or ".norm1." in n}
    assert all(torch.equal(bare[name], state[name]) for name in shared)  # still paired


@pytest.mark.parametrize("attention", ["se", "bam", "gc", "sk", "ge_theta", "dca_se", "triplet"])
@pytest.mark.parametrize("place", [None, "inner", "post", "stage"])
def test_places_of_timms_nets(attention, place):
    if attention == "sk" and place:
        pytest.skip("replaces a convolution")
    overrides = ["model=timm", "model.name=resnet18", "dataset=imagenet", "dataset.image_size=64"]
    bare = attnlab.build(attnlab.config([*overrides, "attention=none"])).state_dict()
    chosen = [*overrides, f"attention={attention}", *([f"attention.place={place}"] if place else [])]
    net = attnlab.build(attnlab.config(chosen))
    state = net.state_dict()
    kept = [name for name in bare if name in state]
    assert len(kept) >= len(bare) - (8 * 6 if attention == "sk" else 0)
    assert all(torch.equal(bare[name], state[name]) for name in kept)
    filled = [m for m in net.modules() if hasattr(m, "attention_place")]
    assert len(filled) == (3 if (place or filled[0].attention_place) == "stage" else 8)
    net(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def place_of(attention):
    return read_choice("attention", attention).get("place")


STARTS = [name for name in choices("attention") if "_laakom" not in name and place_of(name) not in (None, "kernel")]
#: modules that are identities at birth: what they add has a weight of zero
ADDITIVE = ("gc", "a2", "non_local", "danet", "criss_cross")


@pytest.mark.parametrize("attention", STARTS)
def test_start_identity_begins_as_the_net_without_attention(attention):
    overrides = ["model=resnet8", f"attention={attention}", "attention.start=identity"]
    net = attnlab.build(attnlab.config(overrides))
    bare = attnlab.build(attnlab.config(["model=resnet8", "attention=none"]))
    one_size = "theta" in attention or attention == "nam_spatial"  # built for the size of the dataset's images
    images = torch.randn(2, 3, 32, 32) if one_size else torch.randn(2, 3, 16, 16)
    assert torch.equal(net.train()(images), bare.train()(images))
    net(images).square().sum().backward()
    amounts = [m.amount for m in net.modules() if isinstance(m, Eased)]
    assert amounts
    moved = [amount for amount in amounts if amount.grad.abs() > 0]
    assert len(moved) == (0 if attention in ADDITIVE else len(amounts))


def test_at_amount_1_it_is_the_attention():
    cfg = ["model=resnet8", "attention=pse"]
    plain, eased = (attnlab.build(attnlab.config([*cfg, *more])).eval() for more in ([], ["attention.start=identity"]))
    for module in eased.modules():
        if isinstance(module, Eased):
            module.amount.data.fill_(1.0)
    images = torch.randn(2, 3, 16, 16)
    assert torch.allclose(plain(images), eased(images), atol=1e-5)
    with pytest.raises(
        ConfigError,
        match=r"^wrong value attention\.start=identity; .* begin as an identity; allowed is null \(attention=sk\)$",
    ):
        attnlab.build(attnlab.config(["attention=sk", "attention.start=identity"]))
    with pytest.raises(ConfigError, match=r"^wrong value attention\.start=zero; allowed is identity, or null$"):
        attnlab.config(["attention=se", "attention.start=zero"])


def test_a_trained_net_survives_attention_that_starts_as_identity(tiny):
    """What it learnt stays with start=identity, and is damaged without."""
    overrides = [*tiny, "dataset.train_size=2000", "recipe.epochs=4", "machine.precision=32-true"]
    record = attnlab.train(attnlab.config([*overrides, "attention=none"]))
    cfg = attnlab.config(overrides)
    trained = attnlab.load(record["id"], cfg.output_dir)
    data = make_datamodule(check(cfg))
    data.setup()
    errors = {}
    for name, more in (("identity", ["attention.start=identity"]), ("plain", [])):
        net = attnlab.build(attnlab.config([*overrides, "attention=cbam", *more]))
        missing = net.load_state_dict(trained.state_dict(), strict=False)
        assert not missing.unexpected_keys
        images, labels = next(iter(data.evaluation_dataloader("train")))
        errors[name] = float((net.eval()(images).argmax(dim=1) != labels).float().mean())
        errors["before"] = float((trained(images).argmax(dim=1) != labels).float().mean())
    assert errors["identity"] == errors["before"]
    assert errors["before"] + 0.05 < errors["plain"]
