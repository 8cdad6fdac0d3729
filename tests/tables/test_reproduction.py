"""Whether our runs reproduce a paper's number: verdicts, when there is none, and how often they are wrong."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from synthetic import of_config, write

from attnlab.tables.grid import read_grid
from attnlab.tables.reproduction import reproduction, reproduction_notes
from attnlab.tables.statistics import ALPHA, against_published
from attnlab.tables.write import report_table

TOP1 = "test/top1_error"
#: errors of simam_cifar10's ResNet-20; the paper prints 7.67 ± 0.19, 7.58 ± 0.14, 7.40 ± 0.31, 7.65 ± 0.35
OURS = {
    "none": [7.5, 7.7, 7.8, 7.6, 7.7],
    "SE": [8.9, 8.7, 8.8, 9.0, 8.8],
    "CBAM": [7.0, 8.1, 7.2, 8.3, 7.9],
    "ECA": [7.6, 7.7, 7.5, 7.7],
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The report of OURS for some arguments: (comparison, its files)."""
    monkeypatch.chdir(tmp_path)  # no ./results

    def report(*arguments):
        asked = ["table=simam_cifar10", "model=resnet20", *arguments]
        for cell in read_grid(asked).cells:
            for seed, error in enumerate(OURS.get(cell.row, [])):
                write(tmp_path / "outputs", of_config(cell.config | {"seed": seed}, error))
        comparison, paths, _ = report_table([*asked, f"output_dir={tmp_path / 'outputs'}"])
        return comparison, paths

    return report


def test_a_cell_is_reproduced_or_not_or_undecided(made):
    comparison, paths = made()
    found = {key[0]: reproduction(result, comparison) for key, result in comparison.results(TOP1).items()}
    assert found == {
        "none": "reproduced within ±0.5",
        "SE": "not reproduced",
        "CBAM": "undecided",
        "ECA": None,  # one seed is missing
        "GC": None,
        "SimAM": None,
    }
    text = paths[0].read_text()
    assert "| against the paper |" in text
    assert "reproduced within ±0.5" in text
    assert "Each cell by itself, not corrected for their number." in text
    with paths[2].open() as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    assert float(rows["none"]["minus_paper"]) == pytest.approx(7.66 - 7.67)
    assert float(rows["none"]["p_reproduced"]) <= ALPHA < float(rows["CBAM"]["p_reproduced"])
    assert float(rows["SE"]["minus_paper_low"]) > 0.5
    assert [rows[row]["against_paper"] for row in ("none", "ECA")] == ["reproduced within ±0.5", ""]


def test_a_changed_protocol_is_not_held_against_the_paper(made):
    comparison, _ = made("recipe.steps=100")
    assert {reproduction(result, comparison) for result in comparison.results(TOP1).values()} == {None}


@pytest.mark.parametrize(
    ("missing", "note"),
    [
        (
            "margin",
            r"^Not judged against the paper: the table declares no margin \(table.paper.test/top1_error.margin\)",
        ),
        ("runs", r"^The paper prints no standard deviation over runs"),
    ],
)
def test_without_a_margin_or_a_spread_a_line_says_what_is_missing(made, missing, note):
    comparison, _ = made()
    block = {key: value for key, value in comparison.grid.table["paper"][TOP1].items() if key != missing}
    table = comparison.grid.table | {"paper": {TOP1: block}}
    without = replace(comparison, grid=replace(comparison.grid, table=table), _results={})
    assert {reproduction(result, without) for result in without.results(TOP1).values()} == {None}
    (line,) = reproduction_notes(without, TOP1)
    assert re.match(note, line)


@pytest.mark.parametrize(("true", "verdict"), [(0.5, "reproduced"), (0.499, "not reproduced")])
def test_a_verdict_is_wrong_in_at_most_one_of_twenty_tables(true, verdict, record_property):
    """The true difference is the margin, 0.5, or just less; five runs on each side, whose spreads differ."""
    draw, wrong, trials = np.random.default_rng(0), 0, 1000
    for _ in range(trials):
        ours, theirs = draw.normal(7.0 + true, 0.3, 5), draw.normal(7.0, 0.15, 5)
        d = against_published(ours.tolist(), float(theirs.mean()), float(theirs.std(ddof=1)), 5, margin=0.5)
        wrong += d.p_equivalent <= ALPHA if verdict == "reproduced" else d.low > 0.5
    record_property("figure", f"{verdict} although the true difference is {true}: {wrong / trials:.3f} of {trials}")
    assert wrong / trials <= 0.064  # 5 % and two standard errors
