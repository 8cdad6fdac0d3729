"""Parameters and MACs of every backbone, against a golden file and against every figure of the papers.

The golden file is written anew by: python tests/models/test_backbone_costs.py
"""

import csv
from pathlib import Path

import pytest
import torch

import attnlab
from attnlab.configuration.compose import compose_file, plain
from attnlab.configuration.groups import choices
from attnlab.models.costs import count_macs

GOLDEN = Path(__file__).parent.parent / "golden" / "backbone_costs.csv"
FIELDS = ("model", "classes", "params", "MACs")
#: what timm's ResNets are compared by
TIMM = ("resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d", "wide_resnet50_2")
#: whose nets are those of timm, of torchvision, or the user's
FOREIGN = ("timm", "torchvision", "own")
#: (model, dataset): the CIFAR nets at 32 px with 10 and 100 classes, timm's at 224 px with 1000
NETS = [(name, data) for name in choices("model") if name not in FOREIGN for data in ("cifar10", "cifar100")]
NETS += [(f"timm model.name={name}", "imagenet") for name in TIMM]


def costs(*overrides: str) -> dict[str, str]:
    """Of the net with a linear head; on the meta device, which computes shapes alone."""
    values = plain(compose_file("run", [part for line in overrides for part in line.split()]))
    with torch.device("meta"):
        net = attnlab.build(values)
        params = sum(p.numel() for p in net.parameters() if p.requires_grad)
        return {
            "classes": str(values["dataset"]["classes"]),
            "params": str(params),
            "MACs": str(count_macs(net, values)),
        }


def row(model: str, dataset: str) -> dict[str, str]:
    return {"model": model.split("=")[-1]} | costs(f"model={model} dataset={dataset}")


def golden() -> dict[tuple[str, str], dict[str, str]]:
    with GOLDEN.open(newline="") as file:
        return {(line["model"], line["classes"]): line for line in csv.DictReader(file)}


def params(*overrides: str) -> int:
    return int(costs(*overrides)["params"])


@pytest.mark.parametrize(("model", "dataset"), NETS)
def test_costs_are_the_golden_ones(model, dataset):
    found = row(model, dataset)
    assert (
        golden()[found["model"], found["classes"]] == found
    )  # a new model adds its rows when the file is written anew


def test_the_golden_file_has_no_other_rows():
    assert len(golden()) == len(NETS)


def papers_md_1_4(model, *counts):
    """The inverse-attention code's nets: with 10 and 100 classes, for no attention, SE, CBAM."""
    for attention, pair in zip(("none", "se_laakom2021", "cbam_laakom2021"), counts, strict=True):
        for dataset, count in zip(("cifar10", "cifar100"), pair, strict=True):
            yield f"model={model} attention={attention} dataset={dataset}", count


EXACT = [
    *papers_md_1_4("resnet50_cifar", (760_266, 766_116), (772_026, 777_876), (774_378, 780_228)),
    *papers_md_1_4("densenet40", (743_938, 785_068), (860_299, 901_429), (860_789, 901_919)),
    *papers_md_1_4("mobilenet", (3_217_226, 3_309_476), (4_183_410, 4_275_660), (4_184_684, 4_276_934)),
    ("model=preact_resnet164 dataset=cifar10", 1_703_258),  # papers.md 2.4
    ("model=preact_resnet50 dataset=cifar100", 23_693_476),  # papers.md 5.1
    ("model=preact_resnet50 dataset=cifar100 attention=small_spatial", 23_694_212),
]
MILLIONS = [  # GAM's table: tests/attention/test_costs.py
    # SResNet50's sheet (papers.md 5.3); pre- and post-activation nets agree to its two decimals
    ("model=preact_resnet50 dataset=cifar100", 23.69),
    ("model=preact_resnet50 dataset=cifar100 model.blocks=[3,4,23,3]", 42.69),
    ("model=preact_resnet50 dataset=cifar100 attention=se attention.bias=false", 26.21),
    ("model=preact_resnet50 dataset=cifar100 attention=bam_official", 24.05),
    ("model=preact_resnet50 dataset=cifar100 attention=bams", 23.88),
    ("model=preact_resnet50 dataset=cifar100 attention=cbam", 26.23),
]
#: (net, what that sheet prints, ours) of multiply-adds, in 10^9; what its counter counts besides convolutions and
#: matrix products is not known
GMACS = [
    ("model=preact_resnet50 dataset=cifar100", 1.30, 1.30),
    ("model=preact_resnet50 dataset=cifar100 attention=cbam", 1.31, 1.30),
    ("model=preact_resnet50 dataset=cifar100 model.blocks=[3,4,23,3]", 2.52, 2.51),
    ("model=preact_resnet50 dataset=cifar100 attention=bam_official", 1.33, 1.32),
]


@pytest.mark.parametrize(("overrides", "expected"), EXACT)
def test_parameter_counts_of_the_papers(overrides, expected):
    assert params(overrides) == expected


@pytest.mark.parametrize(("overrides", "expected"), MILLIONS)
def test_millions_of_the_papers(overrides, expected):
    """To the digits that are printed."""
    assert f"{params(overrides) / 1e6:.2f}" == f"{expected:.2f}"


@pytest.mark.parametrize(("overrides", "printed", "ours"), GMACS)
def test_macs_of_the_papers(overrides, printed, ours):
    """Ours count convolutions and matrix products alone, so they are the same or fewer."""
    assert f"{int(costs(overrides)['MACs']) / 1e9:.2f}" == f"{ours:.2f}"
    assert ours <= printed


def test_parameter_counts_of_he2016():
    """Table 6 of He et al. 2016: 0.27, 0.46, 0.66, 0.85, 1.7 M with option A."""
    for depth, millions in ((20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.7")):
        digits = len(millions.partition(".")[2])
        assert f"{params(f'model=resnet{depth} model.shortcut=A') / 1e6:.{digits}f}" == millions


if __name__ == "__main__":
    with GOLDEN.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row(*net) for net in NETS)
