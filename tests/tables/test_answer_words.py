"""The result in words, at the head of a page and at the end of a sweep."""

import re

from synthetic import of_config

from attnlab.tables.answer import answer
from attnlab.tables.comparison import compare
from attnlab.tables.grid import read_grid
from attnlab.tables.table_page import table_page
from attnlab.tables.undeclared import grid_of


def comparison(errors, *more, seeds=4):
    grid = read_grid(["table=demo", f"table.seeds={list(range(seeds))}", *more])
    return compare(
        grid,
        [
            of_config(cell.config | {"seed": seed}, error)
            for cell in grid.cells
            for seed, error in enumerate(errors.get(cell.row, []))
        ],
    )


NONE = [8.0, 8.4, 7.9, 8.2]


def near(offset, wobble=0.01):
    return [error + offset + wobble * (-1) ** seed for seed, error in enumerate(NONE)]


def test_each_verdict_is_a_sentence():
    errors = {"none": NONE, "SE": near(-0.5), "ISE": near(0.7), "CBAM": near(0.001, 0.02), "ICBAM": near(-0.2, 0.6)}
    lines = answer(comparison(errors, "+table.margin=0.2"))
    assert [line.split(":")[0] for line in lines] == [
        "Better than none in top-1 error %", "Worse than none in top-1 error %", "Equivalent to none within ±0.2",
        "Undecided against none",
    ]  # fmt: skip
    assert "SE -0.50 [-0.5" in lines[0]
    assert "ISE +0.70" in lines[1]
    assert "CBAM +0.00" in lines[2]
    assert "undecided does not mean equal" in lines[3]


def test_an_unfinished_table_says_so():
    lines = answer(comparison({"none": NONE, "SE": near(-0.5)}))
    assert lines[0] == "No verdict yet: 8 of 20 runs are recorded."
    assert lines[1].startswith("So far, top-1 error % minus that of none: SE -0.50")


def test_selected_seeds_give_no_verdict_even_if_all_are_recorded():
    errors = {row: near(offset) for row, offset in zip(("none", "SE", "ISE", "CBAM", "ICBAM"), range(5), strict=True)}
    assert answer(comparison(errors, "seed=0,2"))[0] == "No verdict yet: 2 of the 4 declared seeds are selected."


def test_nothing_to_compare_and_nothing_to_test():
    assert answer(comparison({"SE": near(0)}, "attention=se")) == ["One row, so nothing is compared."]
    cells = read_grid(["table=demo", "attention=none,se"]).cells
    for seeds, reason in (([0], "for fewer than two common seeds"), ([0, 1], "since all differences are equal")):
        made = [cell.config | {"seed": seed} for cell in cells for seed in seeds]
        (line,) = answer(compare(grid_of(made, "records"), [of_config(config, 9) for config in made]))
        assert line.startswith(f"Not tested against none, {reason}")
        assert line.endswith(": se reduction=4 +0.00.")
    assert answer(comparison({"none": NONE})) == ["Nothing to compare: only the baseline, none, has runs here."]
    assert answer(comparison({"SE": NONE})) == ["Nothing to compare: the baseline, none, has no runs here."]


def test_no_difference_of_more_than_100_points_of_error_is_shown():
    errors = {"none": [10.0, 90.0], "SE": [80.0, 15.0], "ISE": [10.5, 89.9], "CBAM": [9, 90], "ICBAM": [11, 90]}
    found = comparison(errors, seeds=2)
    assert ">100 to" not in " ".join(answer(found))
    (section,) = table_page(found).sections
    texts = [row[section.header.index("detectable [90 %]")] for row in section.rows]
    assert any(text == ">100 [>100, >100]" for text in texts)
    assert not any(float(number) > 100 for text in texts for number in re.findall(r"(?<!>)\b[\d.]+", text))
