"""Stochastic depth: which blocks are skipped, how often, and that evaluation and weights are as before."""

import pytest
import torch
from torch import nn

import attnlab
from attnlab.configuration.compose import plain
from attnlab.errors import ConfigError
from attnlab.models.network import build
from attnlab.models.stochastic_depth import add_stochastic_depth
from attnlab.records.source_code import digests
from attnlab.training.step_choice import obstacle

#: model -> its residual blocks
BLOCKS = {
    "resnet8": 3, "resnet18_stem3": 8, "resnet50_stem3": 16, "preact_resnet18": 8, "wrn16_8": 6, "mobilenet_v2": 14,
}  # fmt: skip


def net_of(model, *more):
    return build(attnlab.config([f"model={model}", *more]))


@pytest.mark.parametrize("model", BLOCKS)
def test_every_residual_block_is_skipped(model):
    net = net_of(model)
    keys, evaluated = list(net.state_dict()), net.eval()(torch.zeros(1, 3, 32, 32))
    assert add_stochastic_depth(net, 0.1) == BLOCKS[model]
    assert list(net.state_dict()) == keys
    assert torch.equal(net(torch.zeros(1, 3, 32, 32)), evaluated)


@pytest.mark.parametrize(("name", "blocks"), [("resnet18", 8), ("resnext50_32x4d", 16), ("efficientnet_b0", 16)])
def test_timms_blocks_have_a_place_for_it(name, blocks):
    net = net_of("timm", f"model.name={name}", "dataset.image_size=64")
    keys = list(net.state_dict())
    assert add_stochastic_depth(net, 0.2) == blocks
    assert list(net.state_dict()) == keys


@pytest.mark.parametrize("model", ["densenet40", "vgg16_bn", "mobilenet"])
def test_other_nets_are_refused(model):
    expected = (
        r"^wrong value recipe\.stochastic_depth=0\.1; allowed is null for this model, which has no residual blocks"
    )
    with pytest.raises(ConfigError, match=expected):
        add_stochastic_depth(net_of(model), 0.1)


def test_a_refused_run_leaves_nothing(tiny, tmp_path):
    with pytest.raises(ConfigError, match="has no residual blocks to skip"):
        attnlab.train(attnlab.config([*tiny, "model=mobilenet", "recipe.stochastic_depth=0.1"]))
    assert not list((tmp_path / "outputs").glob("*/*"))


def skipped(block, x):
    """Which images of a block got its shortcut only."""
    block.shortcut = nn.Identity()
    return (block(x) == torch.relu(x)).all(dim=(1, 2, 3))


def test_a_branch_is_skipped_image_by_image_with_a_rate_that_rises_from_block_to_block():
    net = net_of("resnet8", "attention=se").train()
    add_stochastic_depth(net, 0.6)
    torch.manual_seed(0)
    shares = []
    for stage, channels in (("stage1", 16), ("stage2", 32), ("stage3", 64)):
        block = getattr(net.backbone, stage)[0]
        block.conv1 = nn.Conv2d(channels, channels, 3, padding=1)  # so that input and output have one shape
        shares.append(float(skipped(block, torch.randn(2000, channels, 2, 2)).float().mean()))
    assert shares == pytest.approx([0.2, 0.4, 0.6], abs=0.04)


def test_what_is_kept_is_scaled_so_that_the_mean_stays():
    net = net_of("resnet8").train()
    add_stochastic_depth(net, 0.5)
    at_branch = net.backbone.stage3[0].at_branch
    found = at_branch(torch.ones(4000, 1, 1, 1))
    assert set(found.unique().tolist()) == {0.0, 2.0}
    assert float(found.mean()) == pytest.approx(1, abs=0.05)
    assert torch.equal(at_branch.eval()(torch.ones(5, 1, 1, 1)), torch.ones(5, 1, 1, 1))


def test_a_run_with_it(tiny):
    usual = attnlab.train(attnlab.config(tiny))
    cfg = attnlab.config([*tiny, "recipe.stochastic_depth=0.5"])
    record = attnlab.train(cfg)
    assert record["params"] == usual["params"]
    assert record["macs"] == usual["macs"]
    assert record["metrics"] != usual["metrics"]
    assert "models.stochastic_depth" in digests(plain(cfg))
    assert obstacle(plain(cfg), nn.Flatten()) == "recipe.stochastic_depth=0.5: branches are skipped by hooks"
    attnlab.load(record["id"], cfg.output_dir)  # its weights fit the net without hooks
