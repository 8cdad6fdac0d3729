"""table=cifar10_tuned: the learning rate of each row is the best of its search, and the searches had one budget.

A first search of none, over another range, is kept as well.
"""

import csv
import json
from pathlib import Path

import pytest

from attnlab.configuration.identity import run_id
from attnlab.tables.grid import read_grid

SEARCH = Path(__file__).parents[2] / "results" / "cifar10_tuned" / "search"
ROWS = ("none", "SE", "CBAM")
OBJECTIVE, RATE = "val/top1_error", "recipe.optimizer.lr"


def trials(row):
    with (SEARCH / f"{row}.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cells():
    return {cell.row: cell for cell in read_grid(["table=cifar10_tuned"]).cells}


def test_every_row_was_searched(cells):
    assert set(cells) == set(ROWS) == {path.stem for path in SEARCH.glob("*.csv")}


@pytest.mark.parametrize("row", ROWS)
def test_the_rate_is_the_best_of_its_trials(row, cells):
    best = min(trials(row), key=lambda trial: float(trial[OBJECTIVE]))
    assert cells[row].config["recipe"]["optimizer"]["lr"] == float(f"{float(best[RATE]):.3g}")


def test_all_rows_had_the_same_six_rates():
    rates = [[trial[RATE] for trial in trials(row)] for row in ROWS]
    assert rates[0] == rates[1] == rates[2]
    assert len(set(rates[0])) == 6
    assert all(trial["state"] == "finished" for row in ROWS for trial in trials(row))


@pytest.mark.parametrize("row", ROWS)
def test_a_trial_is_a_run_of_its_row_with_another_rate_and_seed(row, cells):
    for trial in trials(row):
        record = json.loads((SEARCH / "records" / f"{trial['run']}.json").read_text())
        seed = record["config"]["seed"]
        recipe = cells[row].config["recipe"]
        optimizer = recipe["optimizer"] | {"lr": float(trial[RATE])}
        searched = cells[row].config | {"recipe": recipe | {"optimizer": optimizer}, "seed": seed}
        assert run_id(searched) == record["id"] == trial["run"]
        assert record["metrics"][OBJECTIVE] == float(trial[OBJECTIVE])
        assert seed not in read_grid(["table=cifar10_tuned"]).seeds
