"""Both sides of a benchmark do the same work: the same parameters, the same weights in the end."""

from dataclasses import replace

import pytest
import torch

from attnlab.benchmarks import gates, roofline, step
from attnlab.benchmarks.bare_loop import Step, as_set, random_batch
from attnlab.benchmarks.options import BenchOptions, Setting, plain_setting, setting
from attnlab.benchmarks.overhead import DEFAULTS, in_turns, loops
from attnlab.benchmarks.timm_pairs import TWINS, pair
from attnlab.data.build import make_datamodule
from attnlab.machine.kernels import compile
from attnlab.models.network import build

FLOAT32 = Setting(torch.device("cpu"), "32-true", False)
SMALL = ("model=resnet8", "recipe.batch_size=8", "machine.accelerator=cpu")


def trainable(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize(("channels", "size"), [(16, 32), (64, 8), (256, 8)])
def test_twins_have_the_same_parameters(name, channels, size):
    ours, timms = pair(name, channels, size)
    bias_of_the_query = 1 if name == "gc" else 0  # which a softmax over positions cancels
    assert trainable(timms) - trainable(ours) == bias_of_the_query


@pytest.mark.parametrize("name", ["se", "eca", "ge_theta_minus", "ge_theta_minus_4"])
def test_twins_compute_the_same(name):
    """Parameters in the same order, so that ours' can be given to timm's."""
    ours, timms = pair(name, 32, 16)
    for a, b in zip(ours.parameters(), timms.parameters(), strict=True):
        b.data.copy_(a.data.reshape(b.shape))
    x = torch.randn(2, 32, 16, 16)
    torch.testing.assert_close(ours(x), timms(x))


def test_passes_gives_the_gradients_of_x_and_of_every_parameter():
    ours, _ = pair("cbam", 16, 8)
    x = gates.features((2, 16, 8, 8), Setting(torch.device("cpu"), "bf16-mixed", True))
    assert x.dtype == torch.bfloat16
    assert x.is_contiguous(memory_format=torch.channels_last)
    run = gates.passes(ours, x, Setting(torch.device("cpu"), "bf16-mixed", True))
    first, second = run(), run()
    assert len(first) == 1 + len(list(ours.parameters()))
    assert first[0].shape == x.shape
    torch.testing.assert_close(first[0], second[0])


def test_gates_reports_timm_and_plain_over_ours():
    options = BenchOptions(("machine.accelerator=cpu",), ("se", "eca"), 1, {"shapes": "1x16x8x8,1x32x4x4"})
    report = gates.gates(options)
    assert [row.of for row in report.rows] == ["timm"] * 4 + ["plain"] * 4
    assert {row.over for row in report.rows} == {"ours"}
    assert "slower than timm" in report.summary


def test_roofline_floor_is_in_copies():
    assert roofline.floor("se", [1.0, 2.0]) == [3.0, 6.0]  # 6 maps, of which a copy moves 2
    assert roofline.floor("cbam", [1.0]) == [4.5]
    report = roofline.roofline(BenchOptions(("machine.accelerator=cpu",), ("cbam",), 2, {"shapes": "1x16x8x8"}))
    (row,) = report.rows
    assert row.seconds["floor"] == [4.5 * copy for copy in row.seconds["copy"]]


def test_step_has_every_side():
    options = BenchOptions((*SMALL, "model.depth=8"), ("none", "se", "simam"), 1)
    here = setting(options.values(*step.DEFAULTS))
    assert set(step.sides(options, here, "none")) == {"float32", "plain", "machine"}
    assert set(step.sides(options, here, "se")) == {"float32", "plain", "machine", "none", "plain none", "timm"}
    assert set(step.sides(options, here, "simam")) == {
        "float32",
        "plain",
        "machine",
        "none",
        "plain none",
    }  # not timm's


def test_timms_module_only_where_its_hyper_parameters_are_ours():
    values = BenchOptions(("attention.reduction=8",)).values(attention="se")
    assert step.with_timm(values, "se") is None
    values = BenchOptions(("attention.place=post", "attention.stages=[2]", "attention.draw=1")).values(attention="se")
    node = step.with_timm(values, "se")["attention"]
    assert (node["place"], node["stages"], node["draw"]) == ("post", [2], 1)
    assert step.with_timm(BenchOptions(("attention/mask=ignore",)).values(attention="se"), "se") is None


def weights_after(values, here, steps=3):
    train, batch = Step(as_set(build(values), here), values["recipe"], here), random_batch(values, here)
    for _ in range(steps):
        train(*batch)
    return train(*batch)[0], train.net.state_dict()


def test_sides_of_a_step_learn_the_same():
    values = BenchOptions((*SMALL, "recipe.optimizer.lr=0.01")).values(*step.DEFAULTS, attention="cbam")
    loss, weights = weights_after(values, FLOAT32)
    again, others = weights_after(values, Setting(FLOAT32.device, "32-true", True))
    torch.testing.assert_close(again, loss, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(others, weights, rtol=1e-2, atol=1e-3)


@pytest.mark.skipif(compile.library() is None, reason="no C compiler here: nothing is accelerated")
def test_the_plain_side_is_not_accelerated():
    values = BenchOptions(SMALL).values(*step.DEFAULTS, attention="cbam")
    here = Setting(FLOAT32.device, "bf16-mixed", True)
    fast, plain = (as_set(build(values), setting) for setting in (here, replace(here, accelerate=False)))
    assert type(fast.backbone.norm).__name__ == "FusedBatchNorm2d"
    assert type(plain.backbone.norm).__name__ == "BatchNorm2d"
    losses = [Step(net, values["recipe"], here)(*random_batch(values, here))[0] for net in (fast, plain)]
    torch.testing.assert_close(*losses, rtol=0.02, atol=0.02)


def test_loops_of_overhead_end_with_the_same_weights():
    options = BenchOptions((*SMALL, "machine.precision=32-true", "dataset.train_size=100", "dataset.test_size=20"))
    values = options.values(*DEFAULTS, attention="se")
    here = plain_setting(setting(values))
    data = make_datamodule(values)
    data.setup()
    found = loops(lambda: build(values), values, data.train_dataloader(), here, 2, 3)
    seconds = in_turns(found, 2)
    assert {name: len(times) for name, times in seconds.items()} == {"bare": 2, "lightning": 2, "ours": 2}
    weights = {name: net.state_dict() for name, (net, _) in found.items()}
    torch.testing.assert_close(weights["lightning"], weights["bare"])
    torch.testing.assert_close(weights["ours"], weights["bare"])
    born = build(values).state_dict()
    assert not any(torch.equal(weights["bare"][name], born[name]) for name, _ in build(values).named_parameters())


def test_gates_accelerates_a_copy():
    ours, _ = pair("se", 16, 8)
    fast = gates.accelerated(ours, Setting(torch.device("cpu"), "bf16-mixed", True))
    x = torch.randn(2, 16, 8, 8)
    torch.testing.assert_close(ours(x), x * ours.mask(ours.score(x)))
    torch.testing.assert_close(fast(x), ours(x))
    assert type(ours).__name__ == "Gate"
