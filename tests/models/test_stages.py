"""attention.stages: attention in some stages only, as data."""

import pytest
import torch

import attnlab
from attnlab.configuration.compose import plain
from attnlab.configuration.identity import run_id
from attnlab.configuration.names import name_of
from attnlab.errors import ConfigError

TIMM = ["model=timm", "model.name=resnet50", "dataset=imagenet"]


def build(*overrides):
    return attnlab.build(attnlab.config(list(overrides)))


@pytest.mark.parametrize(("stages", "millions"), [("[1]", 25.6), ("[2]", 25.7), ("[3]", 26.4), ("null", 28.1)])
def test_se_paper_table_13(stages, millions):
    """Its stages 2, 3 and 4 are conv2_x, conv3_x, conv4_x: stage1, stage2, stage3 here."""
    total = sum(p.numel() for p in build(*TIMM, "attention=se", f"attention.stages={stages}").parameters())
    assert total / 1e6 == pytest.approx(millions, abs=0.06)


def test_other_stages_stay_as_they_are():
    x = torch.randn(2, 3, 16, 16)
    bare, some = build("model=resnet8").backbone.eval(), build("attention=se", "attention.stages=[3]", "model=resnet8")
    filled = [name for name, module in some.named_modules() if hasattr(module, "attention_place")]
    assert filled == ["backbone.stage3.0.at_branch"]
    one, other = bare(x), some.backbone.eval()(x)
    assert torch.equal(one["stage2"], other["stage2"])
    assert not torch.equal(one["stage3"], other["stage3"])


def test_between_stages():
    net = build("model=resnet8", "attention=bam", "attention.stages=[2]")
    assert [name for name, m in net.named_modules() if hasattr(m, "attention_place")] == ["backbone.at_stage2"]


def test_null_is_no_key_and_a_list_is_another_science():
    cfg = plain(attnlab.config(["attention=se"]))
    cfg["attention"].pop("stages")
    assert run_id(cfg) == run_id(attnlab.config(["attention=se"]))
    some = attnlab.config(["attention=ise", "attention.stages=[2,3]"])
    assert run_id(some) != run_id(attnlab.config(["attention=ise"]))
    assert name_of("attention", plain(some)["attention"]) == "ise stages=[2,3]"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["attention.stages=2"],
            r"^wrong value attention\.stages=2; allowed is increasing integers from 1, e\.g\. \[2,3\]",
        ),
        (["attention.stages=[]"], r"^wrong value attention\.stages=\[\]; allowed"),
        (["attention.stages=[3,2]"], r"^wrong value attention\.stages=\[3, 2\]; allowed is increasing"),
        (["attention.stages=[a]"], r"^wrong value attention\.stages=\['a'\]; allowed"),
        (["attention.stages=[2,4]"], r"attention\.stages=\[2, 4\]; ResNet has place branch in stages 1, 2, 3"),
        (
            ["attention.place=stage", "attention.stages=[3]"],
            r"attention\.stages=\[3\]; ResNet has place stage in stages 1, 2$",
        ),
    ],
)
def test_bad_stages(overrides, message):
    with pytest.raises(ConfigError, match=message):
        build("attention=se", *overrides)


def test_no_attention_may_have_stages_and_a_start():
    """As in `-m attention=none,se attention.stages=[1]`: the baseline is one, whatever the others have."""
    images = torch.randn(2, 3, 16, 16)
    bare, other = (build(*more).eval() for more in ([], ["attention.stages=[1]", "attention.start=identity"]))
    assert torch.equal(bare(images), other(images))
