"""Parameters and MACs of every attention on two nets, against a golden file and against every figure of the papers.

The golden file is written anew by: python tests/attention/test_costs.py
"""

import csv
import io
import sys
from pathlib import Path

import pytest

import attnlab
from attnlab.bench import COLUMNS, zoo
from attnlab.compose import choices

GOLDEN = Path(__file__).parent.parent / "golden" / "attention_costs.csv"
NETS = {"resnet20": ["model=resnet20"], "resnet50": ["model=timm", "model.name=resnet50", "dataset=imagenet"]}
FIELDS = ("model", "attention", "parameters", "MACs")


def costs(model: str) -> list[dict[str, str]]:
    """Every attention's; `not here` for what the model has no place for, or tells too little."""
    rows = zoo(NETS[model], names=choices("attention"))
    return [{"model": model, **{field: str(row[field]) for field in FIELDS[1:]}} for row in rows]


def golden() -> list[dict[str, str]]:
    with GOLDEN.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=[pytest.mark.slow] if name == "resnet50" else []) for name in NETS]
)
def test_costs_are_the_golden_ones(model):
    known = {row["attention"]: row for row in golden() if row["model"] == model}
    assert len(known) >= 50
    found = {row["attention"]: row for row in costs(model)}
    assert {name: found[name] for name in known} == known  # a new attention adds its row when the file is written anew


def millions(*overrides: str) -> float:
    cfg = attnlab.config([*NETS["resnet50"], *overrides])
    return sum(p.numel() for p in attnlab.build(cfg).parameters() if p.requires_grad) / 1e6


@pytest.mark.parametrize(("reduction", "expected"), [(2, 45.7), (4, 35.7), (8, 30.7), (16, 28.1), (32, 26.9)])
def test_se_paper_table_10(reduction, expected):
    """Ratio r against parameters (papers.md 3)."""
    assert millions("attention=se", f"attention.reduction={reduction}") == pytest.approx(
        expected, abs=0.1
    )  # one decimal


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["attention=se", "attention.place=inner"], 25.8),  # SE 3x3, table 15
        (["attention=se", "attention.squeeze=none"], 28.1),  # NoSqueeze, table 16
        (["attention=ge_theta"], 31.2),  # GE-PDF
        (["attention=ge_theta_plus"], 33.7),
        (["attention=gam"], 151.0),  # GAM-PDF: 149.47 with 100 classes, 23.71 without attention
    ],
)
def test_totals_of_the_papers(overrides, expected):
    assert millions(*overrides) == pytest.approx(expected, rel=0.005)


def test_macs_of_no_squeeze():
    """SE paper, tables 10 and 16: 4.27 against 3.86 GFLOPs (multiply-adds)."""
    (row,) = zoo([*NETS["resnet50"], "attention=se", "attention.squeeze=none"])
    assert row["MACs"] / 1e9 == pytest.approx(4.27 - 3.86, abs=0.01)


def test_what_a_model_has_no_place_for_is_not_here():
    rows = {row["attention"]: row for row in zoo(["model=vgg_saoyan"], names=["sk", "pse", "simam"])}
    assert [rows[name]["parameters"] for name in ("sk", "pse", "simam")] == ["not here", "not here", 0]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["attention=se", "attention.bias=false"], 2.514),
        (["attention=cbam"], 2.532),
        (["attention=bam_official"], 0.358),
        (["attention=gc"], 2.548),
        (["attention=triplet"], 0.0048),
        (["attention=small_spatial"], 0.000736),  # papers.md 5.1: 46 a module, 16 modules
        (["attention=gam", "attention.groups=4"], 57.05 - 23.71),  # GAM-PDF table 1
    ],
)
def test_overheads_of_the_papers(overrides, expected):
    """On ResNet-50, in millions: Triplet-PDF table 1 and others (papers.md 5, 6)."""
    assert millions(*overrides) - millions("attention=none") == pytest.approx(expected, rel=0.002)


def test_the_menu_as_csv():
    from warm import warm  # pytest's alone: this file is a script as well

    command = [sys.executable, "-m", "attnlab.bench", "zoo", "format=csv", "model=resnet8"]
    rows = list(csv.DictReader(io.StringIO(warm(command).stdout)))
    found = {row["attention"]: row for row in rows}
    assert list(rows[0]) == list(COLUMNS)
    assert set(found) == {name for name in choices("attention") if "_laakom" not in name}
    kinds = {"se": "channel", "small_spatial": "spatial", "cbam": "both", "triplet": "both", "gc": "channel"}
    assert {name: found[name]["kind"] for name in kinds} == kinds
    assert {"none", "a2", "gc", "non_local", "sk"} <= {name for name, row in found.items() if row["inverse"] == "no"}
    assert all(row["source"] for row in rows)


def test_bad_input_of_the_menu():
    from warm import warm

    command = [sys.executable, "-m", "attnlab.bench"]
    for arguments, message in (
        (["speed"], "attnlab: speed: no such benchmark; allowed are zoo, gates, step"),
        (["zoo", "format=tex"], "attnlab: format=tex: allowed are table, csv"),
        (["zoo", "attention=sse"], "attnlab: attention=sse: unknown"),
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
