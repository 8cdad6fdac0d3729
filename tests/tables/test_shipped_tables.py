"""The tables of conf/table: each reads, composes and builds, and gives no number without a source."""

import csv
import json
import re
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest
import torch
import yaml

import attnlab
from attnlab.attention.excitation import Excitation
from attnlab.configuration.digest import digest
from attnlab.configuration.groups import CONF, choices
from attnlab.configuration.identity import run_id
from attnlab.configuration.names import name_of
from attnlab.machine.gpu_rates import training_images
from attnlab.models.costs import count_macs
from attnlab.records.record import gather
from attnlab.tables.comparison import compare
from attnlab.tables.grid import Grid, read_grid
from attnlab.tables.noise_floor import are_one_model, are_twins
from attnlab.tables.progress import progress_of
from attnlab.tables.spec import check_table

TABLES = choices("table")
TRACKED = sorted((Path(__file__).parents[2] / "results").glob("*/records/*.json"))
GOLDEN = Path(__file__).parents[1] / "golden" / "table_ids.csv"
#: of the records that were made at a ratio of 16: the table that declares them now, and where they are
KEPT = {
    "demo_ratio16": "placebo", "placebo_ratio16": "placebo", "where_they_look_ratio16": "where_they_look",
    "cifar10_20_epochs_ratio16": "cifar10_20_epochs",
}  # fmt: skip
OF_MASKS = {"demo", "placebo", "cifar10_20_epochs", "cifar10_cpu", "ignore_cifar10", "ignore_cifar100"}
OF_MASKS |= {"ignore_imagenet"}
OF_MASKS |= {name for name in KEPT if name != "where_they_look_ratio16"}
ABLATIONS = ("se_placement", "se_stage", "se_ratio", "se_squeeze", "se_excitation")
#: nets of our own; a CIFAR-100 table whose twin is here has its rows
ON_ONE_GPU = [
    name
    for name in TABLES
    if name not in (*ABLATIONS, "ltpa_svhn") and "imagenet" not in name and "arrangement" not in name
    if not (name.endswith("100") and name.replace("100", "10") in TABLES)
]
IMAGENET = 1_281_167  # its training images
TOP1, TOP5 = "test/top1_error", "test/top5_error"


@cache
def grid(name: str) -> Grid:
    return read_grid([f"table={name}"])


def declared(name: str) -> dict:
    """What a table's file declares, with the files that it includes; rows set to null are left out."""
    content = yaml.safe_load((CONF / "table" / f"{name}.yaml").read_text())
    parents = [entry for entry in content.get("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    table = {name: item for parent in parents for name, item in declared(parent).items()}
    rows = table.get("rows", {}) | content["table"].get("rows", {})
    return table | content["table"] | {"rows": {label: given for label, given in rows.items() if given is not None}}


def papers(name: str) -> list[tuple[str, dict]]:
    return list(grid(name).table["paper"].items())


@pytest.mark.parametrize("name", TABLES)
def test_a_table_says_what_it_costs(name):
    cost = " ".join(str(grid(name).table["about"]["cost"]).split())
    expected = re.match(r"expected, not measured; (\d+) runs, ", cost)
    assert expected or re.search(r"\d (min|s)\b|minutes?\b", cost)
    if expected:
        assert int(expected[1]) == len(grid(name).cells) * len(grid(name).seeds)


@pytest.mark.parametrize("name", ["saoyan_cifar100", "se_excitation", "se_stage_cifar", "unt_se_placement"])
def test_the_expected_cost_is_that_of_its_nets(name):
    total = 0
    for cell in grid(name).cells:
        values = cell.config
        images = training_images(values) or IMAGENET * values["recipe"]["epochs"]
        with torch.device("meta"):
            total += 3 * count_macs(attnlab.build(values), values) * images * len(grid(name).seeds)
    assert f", {total:.3g} ".replace("e+", "e") in grid(name).table["about"]["cost"]


def test_the_papers_tables_are_there():
    wanted = {f"{group}_{data}" for group in ("ignore", "ltpa", "simam", "se") for data in ("cifar10", "cifar100")}
    wanted |= {"ignore_imagenet", "ltpa_svhn", "saoyan_cifar100", "cbam_imagenet", "cbam_arrangement"}
    wanted |= {"resnet50_cifar100", "sresnet_cifar100", "unt_se_placement", "placebo", "demo"}
    wanted |= {*ABLATIONS, *(f"{name}_cifar" for name in ABLATIONS)}
    assert wanted <= set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_every_cell_composes_and_is_a_run_of_its_own(name):
    table = declared(name)
    cells = grid(name).cells
    assert len(cells) == len(table["rows"]) * len(table.get("columns", [""]))
    assert len({cell.run_id(0) for cell in cells}) == len(cells)
    assert grid(name).changed == ()


def ids_of(name: str) -> tuple[int, str]:
    """How many cells a table has, and a digest of their runs' ids."""
    ids = sorted(cell.run_id(0) for cell in grid(name).cells)
    return len(ids), digest(ids)


@pytest.mark.parametrize("name", TABLES)
def test_the_runs_of_a_table_keep_their_ids(name):
    """As in tests/golden/table_ids.csv. `python tests/tables/test_shipped_tables.py` rewrites it, for a table whose
    runs were changed on purpose."""
    with GOLDEN.open() as file:
        known = {row["table"]: (int(row["cells"]), row["ids"]) for row in csv.DictReader(file)}
    assert ids_of(name) == known[name]
    assert known.keys() == set(TABLES)


@pytest.mark.parametrize("path", TRACKED, ids=lambda path: path.stem)
def test_a_tracked_records_config_gives_its_id(path):
    record = json.loads(path.read_text())
    assert run_id(record["config"]) == record["id"] == path.stem


@pytest.mark.parametrize("name", TABLES)
def test_the_header_says_what_it_is(name):
    table = grid(name).table
    assert table["title"]
    assert set(table["about"]) == {"source", "protocol", "departures", "cost"}
    assert all(isinstance(text, str) and len(text) > 3 for text in table["about"].values())
    lines = (CONF / "table" / f"{name}.yaml").read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# ")
    assert max(map(len, lines)) <= 140


@pytest.mark.parametrize("name", TABLES)
def test_the_baseline_has_no_attention(name):
    cells = [cell for cell in grid(name).cells if cell.row == grid(name).table["baseline"]]
    assert cells
    for cell in cells:
        assert cell.config["attention"]["_target_"] == "torch.nn.Identity"
        assert cell.config["head"]["_target_"] == "attnlab.heads.linear.Linear"


@pytest.mark.parametrize("name", TABLES)
def test_no_number_without_a_source(name):
    table = declared(name)
    for metric, block in papers(name):
        assert metric in table["metrics"]
        assert re.search(r"\btables? |README\.md|\.sh\b|\.xlsx|_test\.txt", block["source"])
        assert re.search(r"arXiv \d{4}\.\d{5}|\(SimAM\), table 2|\w+/[\w-]+@[0-9a-f]{7}", block["source"])
        assert any(block["values"].values()) or block["missing"].startswith("not available")
        numbers = [number for row in block["values"].values() for number in row.values() if number is not None]
        for number in numbers:
            mean, _, sd = str(number).partition("±")
            assert 0 < float(mean) < 100
            assert not sd or 0 < float(sd) < 2
            assert (float(mean) > 50) == (block["gives"] == "accuracy")
        given = {(row, column) for row, numbers in block["values"].items() for column in numbers}
        assert given <= {(cell.row, cell.column) for cell in grid(name).cells}


@pytest.mark.parametrize("name", TABLES)
def test_numbers_are_written_as_they_are_printed(name):
    """Yaml reads 22.20 as 22.2; in quotes it stays what the source has."""
    _, _, values = (CONF / "table" / f"{name}.yaml").read_text().partition("values:")
    assert not re.findall(r": \d+\.\d*0(?=[,}\s])(?! ±)", values)


@pytest.mark.parametrize("name", TABLES)
def test_attend_and_ignore_come_with_a_noise_floor(name):
    comparison = compare(grid(name), [])
    assert comparison.compares_masks == (name in OF_MASKS)
    if name in OF_MASKS:
        for column in grid(name).columns:
            cells = [cell for cell in grid(name).cells if cell.column == column]
            pairs = {(a.row, b.row) for a, b in combinations(cells, 2) if are_one_model(a.config, b.config)}
            assert {("SE", "ISE"), ("CBAM", "ICBAM")} <= pairs


@pytest.mark.parametrize("name", ["placebo", "where_they_look"])
def test_a_twin_is_the_noise_floor(name):
    (twins,) = [pair for pair in combinations(grid(name).cells, 2) if are_twins(*(cell.config for cell in pair))]
    assert [cell.row for cell in twins] == ["SE", "SE twin"]
    assert compare(grid(name), []).has_noise_floor


@pytest.mark.parametrize("name", sorted({name.removesuffix("_ratio16") for name in KEPT}))
def test_no_hidden_layer_of_the_demonstrations_is_one_unit(name):
    """Of SE, CBAM and BAM in the first stage, of 16 channels; small_spatial has no ratio."""
    for cell in grid(name).cells:
        net = attnlab.build(cell.config)
        widths = [module.reduce.out_features for module in net.modules() if isinstance(module, Excitation)]
        assert all(width >= 4 for width in widths), cell.row
        assert bool(widths) == (cell.row not in ("none", "small spatial", "LTPA"))


@pytest.mark.parametrize(("name", "folder"), KEPT.items())
def test_what_was_run_at_a_ratio_of_16_is_still_declared(name, folder):
    """Each record of results/ is found by its table, but for rows that no table has and seeds it does not ask for."""
    there, left_out = gather(CONF.parent / "results" / folder)
    clutter = grid(name).cells[0].config["dataset"].get("clutter")  # the folder may hold a table of clearer digits too
    there = [record for record in there if record["config"]["dataset"].get("clutter") == clutter]
    model = grid(name).cells[0].config["model"]  # and one of another net
    there = [record for record in there if record["config"]["model"] == model]
    assert there
    assert not left_out
    found = {record["id"] for record in progress_of(grid(name), there).done.values()}
    names = {name_of("attention", cell.config["attention"]) for cell in grid(name).cells}
    expected = {
        record["id"]
        for record in there
        if name_of("attention", record["config"]["attention"]) in names and record["config"]["seed"] in grid(name).seeds
    }
    assert found == expected
    assert not any("reduction" in item for given in grid(name).table["rows"].values() for item in given)


@pytest.mark.parametrize(
    ("name", "metric", "row", "column", "printed"),
    [
        ("simam_cifar10", TOP1, "SE", "ResNet-20", "92.42 ± 0.14"),
        ("simam_cifar10", TOP1, "SimAM", "MobileNetV2", "92.36 ± 0.20"),
        ("simam_cifar10", TOP1, "none", "WRN-28-10", "95.78 ± 0.10"),
        ("simam_cifar100", TOP1, "none", "ResNet-20", "68.88 ± 0.15"),
        ("simam_cifar100", TOP1, "CBAM", "ResNet-110", "76.45 ± 0.54"),
        ("simam_cifar100", TOP1, "SimAM", "PreResNet-56", "72.36 ± 0.19"),
        ("se_cifar10", TOP1, "SE", "ResNet-110", "5.21"),
        ("se_cifar10", TOP1, "GE-theta+", "WRN-16-8", "3.72"),
        ("se_cifar100", TOP1, "none", "ResNet-164", "24.33"),
        ("se_cifar100", TOP1, "GE-theta", "ResNet-110", "24.29"),
        ("cbam_imagenet", TOP1, "CBAM", "ResNet-50", "22.66"),
        ("cbam_imagenet", TOP1, "SE", "ResNeXt-50", "21.91"),
        ("cbam_imagenet", TOP5, "none", "ResNet-18", "10.55"),
        ("cbam_arrangement", TOP1, "parallel", "", "22.95"),
        ("cbam_arrangement", TOP5, "spatial by 1x1 conv, k7", "", "6.47"),
        ("se_ratio", TOP1, "r = 2", "", "22.29"),
        ("se_ratio", TOP5, "r = 32", "", "6.20"),
        ("se_squeeze", TOP1, "NoSqueeze", "", "22.93"),
        ("se_excitation", TOP1, "ReLU", "", "23.47"),
        ("se_stage", TOP1, "stage 4", "", "22.68"),
        ("se_placement", TOP1, "SE-Identity", "", "22.20"),
        ("se_placement", TOP5, "SE 3x3", "", "6.02"),
        ("ltpa_cifar10", TOP1, "att2 concat pc", "", "94.58"),
        ("ltpa_cifar100", TOP1, "VGG", "", "69.29"),
        ("saoyan_cifar100", TOP1, "before pooling", "", "22.62"),
        ("resnet50_cifar100", TOP1, "BAM", "", "19.97"),
        ("resnet50_cifar100", TOP5, "CBAM", "", "4.66"),
        ("sresnet_cifar100", TOP1, "SResNet50", "", "75.47"),
        ("unt_se_placement", TOP1, "none", "", "74.84"),
        ("unt_se_placement", TOP1, "only 2", "", "75.31"),
        ("unt_se_placement", TOP1, "all but 1", "", "74.80"),
    ],
)
def test_anchors(name, metric, row, column, printed):
    assert str(grid(name).table["paper"][metric]["values"][row][column]) == printed


def test_no_number_that_was_chosen_on_the_test_set_stands_beside_ours():
    """Where a source has such ones, they are in a note, and its last epochs are compared with ours."""
    chosen = {name: block["chosen"] for name in TABLES for _, block in papers(name)}
    assert "test" not in chosen.values()
    assert chosen["ignore_cifar10"] == "validation"
    for name, best in (("sresnet_cifar100", "SE 75.29"), ("unt_se_placement", "only 2 75.54")):
        ((_, block),) = papers(name)
        assert block["chosen"] == "last"
        assert block["runs"] == 1
        assert "on the test set" in block["missing"]
        assert best in block["missing"]
        assert best.split()[-1] not in map(str, declared(name)["paper"][TOP1]["values"].values())


def test_the_stages_of_the_unt_table():
    """`none` has no SE; `all`, `only` and `all but` have it in the stages that they say, four in all."""
    for cell in grid("unt_se_placement").cells:
        net = attnlab.build(cell.config)
        number = int(cell.row[-1]) if cell.row[-1].isdigit() else None
        wanted = {"none": set(), "all": {1, 2, 3, 4}, "only": {number}, "all but": {1, 2, 3, 4} - {number}}
        stages = {
            int(name.split(".stages.stage")[1][0]) for name, module in net.named_modules()
            if hasattr(module, "attention_place")
        }  # fmt: skip
        assert stages == wanted[cell.row.rstrip(" 1234")]


def test_the_inverse_attention_papers_numbers_stay_empty():
    """They could not be confirmed."""
    for name in ("ignore_cifar10", "ignore_cifar100", "ignore_imagenet", "ltpa_svhn"):
        for _, block in papers(name):
            assert block["values"] == {}
            assert block["missing"]


@pytest.mark.parametrize("name", [*ON_ONE_GPU, "se_placement"])
def test_every_row_builds(name):
    """In its first column, without memory or time for the weights."""
    for cell in grid(name).cells:
        if cell.column == grid(name).columns[0]:
            with torch.device("meta"):
                net = attnlab.build(cell.config)
            assert sum(p.numel() for p in net.parameters()) > 0


def test_the_table_of_the_documentation_is_one():
    page = (CONF.parent / "docs" / "extending.md").read_text()
    (block,) = re.findall(r"```yaml\n(# @package _global_.*?)```", page, re.DOTALL)
    table = check_table("mine", yaml.safe_load(block)["table"])
    assert list(table["rows"]) == ["none", "SE", "SE before", "Energy"]


if __name__ == "__main__":
    with GOLDEN.open("w", newline="") as file:
        csv.writer(file).writerows([("table", "cells", "ids"), *((name, *ids_of(name)) for name in TABLES)])
