"""Figures: limits that an outlier does not stretch, points side by side, bands over seeds, colours of the page."""

import csv
import json
import re

import numpy as np
import pytest
from synthetic import of_config, write

import attnlab
from attnlab.configuration.compose import check
from attnlab.tables.comparison import compare
from attnlab.tables.cost_figure import cost_figure
from attnlab.tables.curve_figure import curve_figure, number_figure
from attnlab.tables.figures import documents, element, figures
from attnlab.tables.grid import read_grid
from attnlab.tables.style import beside, limits, plt
from attnlab.tables.undeclared import grid_of


def test_limits_hold_all_but_outliers_and_cut_long_error_bars():
    low, high = limits([1.0, 1.2, 0.9, 1.1, 40.0])
    assert 0.8 < low < 0.9
    assert 1.2 < high < 1.3
    low, high = limits([1.0, 1.2], [0.1, 0.1])  # of two values none is an outlier
    assert (low, high) == (pytest.approx(0.876), pytest.approx(1.324))
    low, high = limits([1.0, 1.1, 1.2], [0.1, 0.1, 50.0])
    assert high == pytest.approx(1.5 + 0.06 * (1.5 - 0.9))
    assert limits([1.0, 1.0, 50.0, 50.0])[1] > 50  # half of the values are no outliers
    assert limits([3.0]) == (pytest.approx(2.85), pytest.approx(3.15))


def test_equal_costs_stand_side_by_side():
    moved = beside([100.0, 100.0, 100.5, 200.0])
    assert moved[3] == pytest.approx(200.0)
    assert moved[0] < moved[1] < moved[2]
    assert np.diff(moved[:3]).min() >= 1.2 - 1e-9
    assert np.abs(np.array(moved) - [100.0, 100.0, 100.5, 200.0]).max() < 0.015 * 100  # near its true cost
    assert beside([5.0, 1.0, 3.0]) == pytest.approx([5.0, 1.0, 3.0])
    crowd = np.array(beside([101.0, 100.0, 200.0, 100.0, 101.0]))
    assert list(np.argsort(crowd)) == [1, 3, 0, 4, 2]  # the order stays
    assert np.diff(np.sort(crowd)).min() >= 1.2 - 1e-9
    assert beside([5.0]) == [5.0]


@pytest.fixture
def comparison(tmp_path):
    grid = read_grid(["table=demo", "attention=none,se", "table.seeds=[0,1]"])
    records = [of_config(cell.config | {"seed": seed}, 8 + seed) for cell in grid.cells for seed in grid.seeds]
    for number, record in enumerate(records):
        folder = write(tmp_path, record).parent
        with (folder / "log.csv").open("w") as file:
            writer = csv.DictWriter(file, ["epoch", "val/top1_error"])
            writer.writeheader()
            writer.writerows({"epoch": e, "val/top1_error": 50 - 10 * e + number} for e in range(3))
    return compare(grid, records), tmp_path


def test_curves_have_a_band_of_one_sd_over_the_seeds(comparison):
    (axis,) = curve_figure(*comparison).axes
    line, _ = axis.lines
    assert line.get_ydata().tolist() == [50.5, 40.5, 30.5]
    bounds = axis.collections[0].get_datalim(axis.transData)
    sd = np.std([0, 1], ddof=1)
    assert (bounds.ymin, bounds.ymax) == (pytest.approx(30.5 - sd), pytest.approx(50.5 + sd))
    first = next(iter(comparison[0].records))
    (comparison[1] / first["id"] / "result.json").write_text(json.dumps(first | {"checksum": "another"}))
    assert len(curve_figure(*comparison).axes[0].collections) == 1  # the log of another training is not drawn


def test_an_axis_names_a_spread_only_where_there_are_several_seeds(comparison):
    assert curve_figure(*comparison).axes[0].get_ylabel() == "validation error %\nmean and ± sd over seeds"
    made = [check(attnlab.config([f"recipe.optimizer.lr={lr}", f"seed={s}"])) for lr in (0.1, 0.2, 0.3) for s in (0, 1)]
    for configs, label in ((made, "top-1 error %\nmean and 95 % interval over seeds"), (made[::2], "top-1 error %")):
        records = [of_config(config, 8 + config["seed"]) for config in configs]
        assert number_figure(compare(grid_of(configs, "sweep"), records)).axes[0].get_ylabel() == label
    plt.close("all")


def test_rows_of_one_cost_do_not_cover_each_other(comparison):
    axis = cost_figure(comparison[0]).axes[0]
    places = {container.get_label(): container.lines[0].get_xdata()[0] for container in axis.containers}
    assert places["none"] != places["SE"]


def test_a_figure_in_a_page_has_the_colours_of_the_page(comparison):
    text = element(documents(figures(*comparison))["costs"])
    assert re.match(r'<svg style="min-width:\d+pt"', text)  # on a phone it scrolls before its texts become too small
    assert "var(--ink)" in text
    assert "var(--line)" in text
    assert "#ffffff" not in text
    plt.close("all")
