"""Parameters and MACs of every attention on four nets, against a golden file and against every figure of the papers.

The golden file is written anew by: python tests/attention/test_costs.py
"""

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

import attnlab
from attnlab.bench import COLUMNS, zoo
from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.groups import choices
from attnlab.models.costs import count_macs

GOLDEN = Path(__file__).parent.parent / "golden" / "attention_costs.csv"
NETS = {
    "resnet20": ["model=resnet20"],
    "resnet50": ["model=timm", "model.name=resnet50", "dataset=imagenet"],
    "densenet40": ["model=densenet40"],  # 24 to 168 channels: a ratio of 16 divides few of them
    "mobilenet_v2": ["model=mobilenet_v2"],
}
SLOW = ("resnet50", "densenet40", "mobilenet_v2")
FIELDS = ("model", "attention", "parameters", "MACs")


def costs(model: str) -> list[dict[str, str]]:
    """Every attention's; `not here` for what the model has no place for, or tells too little."""
    rows = zoo(NETS[model], names=choices("attention"))
    return [{"model": model, **{field: str(row[field]) for field in FIELDS[1:]}} for row in rows]


def golden() -> list[dict[str, str]]:
    with GOLDEN.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in NETS]
)
def test_costs_are_the_golden_ones(model):
    known = {row["attention"]: row for row in golden() if row["model"] == model}
    assert len(known) >= 72
    found = {row["attention"]: row for row in costs(model)}
    assert {name: found[name] for name in known} == known  # a new attention adds its row when the file is written anew


def built(*overrides: str, net: Sequence[str] = NETS["resnet50"]):
    """On the meta device, which computes shapes alone."""
    values = plain(compose_file("run", [*net, *overrides]))
    with torch.device("meta"):
        return attnlab.build(values)


def count(net) -> int:
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def running(net) -> int:
    """BN's running statistics, which Caffe keeps among the weights."""
    return sum(b.numel() for name, b in net.named_buffers() if name.endswith(("running_mean", "running_var")))


def shown(number: float, printed: str) -> str:
    """In millions, to as many digits as the paper prints."""
    return f"{number / 1e6:.{len(printed.partition('.')[2])}f}"


R18 = "model.name=resnet18"
NO_BIAS = ["attention=se", "attention.bias=false"]
TOTALS = [
    # GAM-PDF table 2; SimAM-PDF table 3 prints the same of the first four
    (["attention=none"], "25.56"),
    (NO_BIAS, "28.07"),
    (["attention=cbam"], "28.09"),
    (["attention=eca"], "25.56"),
    (["attention=bam_official"], "25.92"),
    (["attention=triplet"], "25.56"),
    (["attention=gam_liu2021"], "151.32"),
    (["attention=gam_liu2021", "attention.groups=4"], "58.9"),
    (["attention=none", R18], "11.69"),
    ([*NO_BIAS, R18], "11.78"),
    (["attention=cbam", R18], "11.78"),
    (["attention=bam_official", R18], "11.71"),
    (["attention=gam_liu2021", R18], "16.04"),
    (["attention=epsa"], "22.56"),  # murufeng/EPSANet@9955041 README.md
    (["attention=cot"], "22.2"),  # JDAI-CV/CoTNet@895e024 README.md
]


@pytest.mark.parametrize(("overrides", "printed"), TOTALS)
def test_totals_of_the_papers(overrides, printed):
    assert shown(count(built(*overrides)), printed) == printed


@pytest.mark.parametrize(("part", "printed"), [("spatial", "15.95"), ("channel", "11.78")])
def test_the_parts_of_gam(part, printed):
    """GAM-PDF table 3, ResNet-18 with one of the two branches: with the totals they say where BNs and biases are."""
    net = built("attention=gam_liu2021", R18)
    other = {"spatial": ".channel.score.", "channel": ".spatial.score."}[part]
    assert shown(count(net) - sum(p.numel() for n, p in net.named_parameters() if other in n), printed) == printed


#: of the paper's table of SE, BAM, CBAM and GAM on CIFAR-100 (GAM-PDF table 1)
GAM_TABLE = {"none": "23.71", "SE": "26.22", "BAM": "24.06", "CBAM": "26.24", "GAM": "149.47", "GAM (gc)": "57.05"}


def test_every_row_of_gams_table_has_the_parameters_it_prints():
    table = plain(compose_file("run", ["table=resnet50_cifar100"]))
    assert set(table["table"]["rows"]) == set(GAM_TABLE)
    assert ", ".join(GAM_TABLE.values()) in table["table"]["about"]["departures"]
    for row, printed in GAM_TABLE.items():
        net = built(*table["table"]["rows"][row], net=["table=resnet50_cifar100"])
        assert shown(count(net), printed) == printed, row


@pytest.mark.parametrize(
    ("overrides", "ours", "row"),
    [
        (["attention=se"], 26_236_244, "SE"),  # biases
        (["attention=gam"], 149_500_596, "GAM"),  # a BN after the second conv
        (["attention=gam", "attention.groups=4"], 57_076_404, "GAM (gc)"),
        (["attention=gam", "attention.norm=none", "attention.groups=4"], 57_044_308, "GAM (gc)"),  # figure 3 as drawn
    ],
)
def test_other_forms_have_not_the_parameters_of_gams_table(overrides, ours, row):
    net = built(*overrides, net=["table=resnet50_cifar100"])
    assert count(net) == ours
    assert shown(ours, GAM_TABLE[row]) != GAM_TABLE[row]


#: the SE and GE papers trained in Caffe: their totals count BN's running statistics. SE's ablations have no biases.
CAFFE = [
    (["attention=none"], "25.6"),
    ([*NO_BIAS, "attention.reduction=2"], "45.7"),  # SE-PDF table 10
    ([*NO_BIAS, "attention.reduction=4"], "35.7"),
    (NO_BIAS, "28.1"),
    ([*NO_BIAS, "attention.reduction=32"], "26.9"),
    ([*NO_BIAS, "attention.stages=[1]"], "25.6"),  # table 13
    ([*NO_BIAS, "attention.stages=[2]"], "25.7"),
    ([*NO_BIAS, "attention.stages=[3]"], "26.4"),
    ([*NO_BIAS, "attention.place=inner"], "25.8"),  # table 15: SE 3x3
    ([*NO_BIAS, "attention.squeeze=none"], "28.1"),  # table 16: NoSqueeze
    (["attention=ge_theta"], "31.2"),  # GE-PDF table 2
    (["attention=ge_theta_plus"], "33.7"),
]


@pytest.mark.parametrize(("overrides", "printed"), CAFFE)
def test_totals_that_count_running_statistics(overrides, printed):
    net = built(*overrides)
    assert shown(count(net) + running(net), printed) == printed


ADDED = [
    (NO_BIAS, "2.515"),  # SimAM-PDF table 3
    (["attention=cbam"], "2.533"),
    (["attention=simam"], "0"),
    (["attention=bam_official"], "0.358"),  # Triplet-PDF table 1
    (["attention=gc"], "2.548"),
    (["attention=triplet"], "0.0048"),
    (["attention=small_spatial"], "0.000736"),  # papers.md 5.1: 46 a module, 16 modules
]


@pytest.mark.parametrize(("overrides", "printed"), ADDED)
def test_overheads_of_the_papers(overrides, printed):
    """On ResNet-50."""
    assert shown(count(built(*overrides)) - count(built("attention=none")), printed) == printed


#: what we have, what is printed, and why they differ, or what is known of it
DIFFERENT = [
    (["attention=eca"], 86, "0.000088"),  # SimAM-PDF: 88; ECANet's released net has 80
    (["attention=srm"], 60_416, "0.030"),  # SimAM-PDF: half, two weights a channel without BN's two
    (["attention=cbam"], 2_532_592, "2.532"),  # Triplet-PDF table 1 cuts digits off; SimAM-PDF rounds
    (NO_BIAS, 2_514_944, "2.514"),  # the same
    ([*NO_BIAS, "attention.reduction=8"], 5_029_888, "5.1"),  # SE-PDF table 10: 30.7 less 25.6; why is not known
    (["attention=gam"], 125_795_344, "125.76"),  # GAM-PDF table 2: 151.32 less 25.56; a BN that the paper has not
]


@pytest.mark.parametrize(("overrides", "ours", "printed"), DIFFERENT)
def test_where_ours_and_a_paper_differ(overrides, ours, printed):
    """Held to what we have, so that a difference neither grows nor vanishes unseen."""
    added = count(built(*overrides)) - count(built("attention=none"))
    assert added == ours
    assert shown(added, printed) != printed


@pytest.mark.parametrize(
    ("overrides", "added"),
    [
        (["attention=se", "attention.squeeze=none"], "0.41"),  # SE-PDF tables 10 and 16: 4.27 less 3.86
        (["attention=gam_liu2021"], "20.55"),  # GAM-PDF table 2: 24.66 less 4.11
        (["attention=gam_liu2021", "attention.groups=4"], "5.45"),  # 9.56 less 4.11
    ],
)
def test_macs_of_the_papers(overrides, added):
    """Multiply-adds that an attention adds, in 10^9. GAM's second BN has none: both forms of it have these."""
    values = [plain(compose_file("run", [*NETS["resnet50"], *o])) for o in (overrides, ["attention=none"])]
    with torch.device("meta"):
        ours, bare = (count_macs(attnlab.build(v), v) for v in values)
    assert f"{(ours - bare) / 1e9:.2f}" == added


def test_products_within_fused_attention_are_counted():
    """SCSA of 64 channels on 32x32: convs of 27,648 MACs, and q k^T and its product with v in 8 heads of 8 channels
    over 4x4 windows, 2 * 8 * 8 * 8 * 16 = 16,384, which a CPU computes in one fused operation."""
    values = plain(compose_file("run", ["attention=scsa"]))
    net = nn.Sequential(nn.Conv2d(3, 64, 1), attnlab.create_attention("scsa", 64))
    for device in ("cpu", "meta"):
        with torch.device(device):
            assert count_macs(net.to(device), values) == 3 * 64 * 32 * 32 + 27_648 + 16_384


def test_what_a_model_has_no_place_for_is_not_here():
    rows = {row["attention"]: row for row in zoo(["model=vgg_saoyan"], names=["sk", "pse", "simam"])}
    assert [rows[name]["parameters"] for name in ("sk", "pse", "simam")] == ["not here", "not here", 0]


def test_the_menu_as_csv():
    from warm import warm  # pytest's alone: this file is a script as well

    command = [sys.executable, "-m", "attnlab.bench", "zoo", "format=csv", "model=resnet8"]
    rows = list(csv.DictReader(io.StringIO(warm(command).stdout)))
    found = {row["attention"]: row for row in rows}
    assert list(rows[0]) == list(COLUMNS)
    assert set(found) == {name for name in choices("attention") if "_laakom" not in name}
    kinds = {"se": "channel", "small_spatial": "spatial", "cbam": "both", "triplet": "both", "gc": "channel"}
    kinds |= {"ese": "channel", "soca": "channel", "scsa": "both", "external": "both", "cot": "kernel"}
    assert {name: found[name]["kind"] for name in kinds} == kinds
    assert {"none", "a2", "gc", "non_local", "sk"} <= {name for name, row in found.items() if row["inverse"] == "no"}
    assert all(row["source"] for row in rows)


def test_bad_input_of_the_menu():
    from warm import warm

    command = [sys.executable, "-m", "attnlab.bench"]
    for arguments, message in (
        (["speed"], "attnlab: unknown command speed; allowed are zoo, gates, step"),
        (["zoo", "format=tex"], "attnlab: unknown choice format=tex; allowed are csv, table, markdown"),
        (["zoo", "attention=sse"], "attnlab: unknown choice attention=sse; did you mean se?"),
    ):
        done = warm([*command, *arguments])
        assert done.returncode == 1
        assert done.stderr.startswith(message)


if __name__ == "__main__":
    with GOLDEN.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        for net in NETS:
            writer.writerows(costs(net))
