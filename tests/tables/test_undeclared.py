"""The grid of runs that no table declares: rows, columns, baseline, names, and the number that varies."""

import numpy as np
import pytest
from synthetic import of_config

import attnlab
from attnlab.configuration.compose import plain
from attnlab.tables.comparison import compare
from attnlab.tables.curve_figure import number_figure
from attnlab.tables.difference_figure import difference_figure
from attnlab.tables.record_groups import tabulate
from attnlab.tables.table_page import table_page
from attnlab.tables.undeclared import grid_of

TOP1 = "test/top1_error"


def configs(*jobs, seeds=(0, 1, 2)):
    """Configs of a sweep: every job under every seed."""
    return [plain(attnlab.config([*job.split(), f"seed={seed}"])) for job in jobs for seed in seeds]


def shape(grid):
    return grid.rows, grid.columns, grid.table["baseline"], grid.table["title"]


def test_what_varies_besides_the_seed_is_a_row():
    grid = grid_of(configs("attention=se", "attention=none", "attention=cbam"), "sweep")
    fixed = "dataset=cluttered_digits, model=resnet20, recipe=quick"
    assert shape(grid) == (("se", "none", "cbam"), ("",), "none", fixed)
    assert grid.seeds == (0, 1, 2)
    assert len(set(grid.run_ids.values())) == 9


def test_models_are_columns_unless_nothing_else_varies():
    both = [f"attention={name} model={model}" for name in ("none", "se") for model in ("resnet8", "resnet20")]
    grid = grid_of(configs(*both, seeds=(0,)), "sweep")
    assert shape(grid)[:3] == (("none", "se"), ("resnet8", "resnet20"), "none")
    grid = grid_of(configs("model=resnet8", "model=resnet20", seeds=(0,)), "sweep")
    assert shape(grid)[:3] == (("resnet8", "resnet20"), ("",), "resnet8")


def test_a_recipe_is_a_column_beside_attention_so_that_each_column_has_one_setup():
    jobs = [f"attention={name} recipe.optimizer.lr={lr}" for lr in (0.1, 0.02, 0.5) for name in ("none", "se")]
    grid = grid_of(configs(*jobs), "sweep")
    assert shape(grid)[:3] == (("none", "se"), ("lr=0.02", "lr=0.1", "lr=0.5"), "none")
    assert grid.axis.name == "lr"
    assert grid.axis.points["se", "lr=0.1"] == ("se", 0.1)
    comparison = compare(grid, [of_config(config, 8 + config["seed"]) for config in configs(*jobs)])
    assert comparison.comparisons == 3
    assert all(r.difference.paired for r in comparison.results(TOP1).values() if r.difference)


def test_a_number_is_one_table_in_order_and_names_every_value():
    """Also the value of the yaml file, 16, which the name of the file alone would hide."""
    jobs = [f"attention=se attention.reduction={reduction}" for reduction in (16, 4, 8)]
    grid = grid_of(configs(*jobs), "sweep")
    assert shape(grid)[:3] == (("reduction=4", "reduction=8", "reduction=16"), ("",), "reduction=4")
    assert grid.axis.points["reduction=16", ""] == ("", 16)
    decays = [f"recipe.weight_decay.default={decay}" for decay in (0.001, 0.01)]
    assert grid_of(configs(*decays, seeds=(0,)), "sweep").rows == ("weight_decay=0.001", "weight_decay=0.01")
    grid = grid_of(configs("attention=none", *jobs), "sweep")
    assert shape(grid)[:3] == (("none", "se reduction=16", "se reduction=4", "se reduction=8"), ("",), "none")
    assert grid.axis.points["none", ""] == ("none", None)
    assert grid.axis.points["se reduction=4", ""] == ("se", 4)


def test_a_mask_and_a_head_are_rows():
    jobs = ("attention=se", "attention=se attention/mask=ignore_05", "attention=se head=ltpa")
    assert grid_of(configs(*jobs, seeds=(0,)), "sweep").rows == (
        "se, linear", "se mask=ignore_05, linear", "se, ltpa",
    )  # fmt: skip


def test_the_curve_has_the_mean_and_its_interval():
    jobs = [f"attention=se attention.reduction={reduction}" for reduction in (4, 8, 16)]
    grid = grid_of(configs("attention=none", *jobs), "sweep")
    errors = {None: 10.0, 4: 8.0, 8: 9.0, 16: 9.5}
    records = [
        of_config(cell.config | {"seed": seed}, errors[grid.axis.points[cell.row, ""][1]] + seed)
        for cell in grid.cells
        for seed in grid.seeds
    ]
    (axis,) = number_figure(compare(grid, records)).axes
    assert axis.get_xlabel() == "reduction"
    lines = {line.get_label(): line for line in axis.lines}
    assert lines["se"].get_xdata().tolist() == [4, 8, 16]
    assert lines["se"].get_ydata().tolist() == [9.0, 10.0, 10.5]
    assert set(lines["none"].get_ydata()) == {11.0}
    (band,) = axis.collections
    reach = 4.303 / np.sqrt(3)  # t of 2 degrees of freedom, times the standard error of 0, 1, 2
    assert band.get_datalim(axis.transData).ymin == pytest.approx(9 - reach, abs=1e-3)
    assert number_figure(compare(grid_of(configs("attention=se"), "sweep"), records)) is None


def test_records_that_differ_in_one_number_are_one_table():
    lrs = [f"attention=none recipe.optimizer.lr={lr}" for lr in (0.1, 0.02, 0.5)]
    (table,) = tabulate([of_config(config) for config in configs(*lrs)])
    assert table.grid.rows == ("lr=0.02", "lr=0.1", "lr=0.5")
    assert len(tabulate([of_config(config) for config in configs(*lrs[:2])])) == 2


def test_an_unfinished_sweep_gets_no_verdict_and_records_do():
    made = configs("attention=none", "attention=se")
    records = [of_config(config, 8 + config["seed"] - (config["attention"].get("reduction") is not None))
               for config in made][:-1]  # fmt: skip
    sweep = compare(grid_of(made, "sweep"), records)
    assert (sweep.missing, sweep.is_complete) == (1, False)
    assert sweep.results(TOP1)["se", ""].verdict is None
    assert "the sweep has 3 seeds a row, and not all are recorded" in " ".join(table_page(sweep).warnings)
    (found,) = tabulate(records)
    assert found.is_complete
    assert [row[2] for row in table_page(found).sections[0].rows] == ["3", "2"]


def test_an_outlier_does_not_flatten_the_figure():
    made = configs("attention=none", "attention=se", "attention=cbam", "attention=eca", "attention=simam")
    errors = {"none": 10.0, "se": 9.8, "cbam": 10.1, "eca": 9.9, "simam": 90.0}
    grid = grid_of(made, "sweep")
    records = [of_config(c.config | {"seed": s}, errors[c.row] + 0.1 * s * s) for c in grid.cells for s in grid.seeds]
    (axis,) = difference_figure(compare(grid, records)).axes
    low, high = axis.get_xlim()
    assert high - low < 2
    assert "+80.00" in [text.get_text() for text in axis.texts]
