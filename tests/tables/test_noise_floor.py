"""The noise floor: rows that are one model, as twins or by an identity, and what a table says of them."""

import numpy as np
import pytest
from synthetic import of_config

import attnlab
from attnlab.configuration.compose import plain
from attnlab.tables.comparison import compare
from attnlab.tables.grid import read_grid
from attnlab.tables.noise_floor import are_one_model, are_twins
from attnlab.tables.table_page import table_page

TOP1 = "test/top1_error"


def grid(*rows):
    return read_grid([*rows]) if rows else read_grid(["table=placebo", "table.seeds=[0,1,2]"])


def recorded(which, **errors):
    """A comparison of a grid with the given errors, {row: an error a seed}."""
    config = {cell.row: cell.config for cell in which.cells}
    return compare(which, [
        of_config(config[row] | {"seed": seed}, error)
        for row, values in errors.items()
        for seed, error in zip(which.seeds, values, strict=False)
    ])  # fmt: skip


def test_twins_and_an_identity_are_found_and_told_apart():
    se, twin, ise = [10.0, 11.0, 12.5], [12.0, 10.5, 11.0], [10.5, 11.5, 12.0]
    comparison = recorded(grid(), none=[9.0, 9.5, 9.1], SE=se, **{"SE twin": twin}, ISE=ise)
    floors = {floor.rows: floor for floor in comparison.noise_floors(TOP1)}
    assert {rows: (floor.twins, floor.same_start) for rows, floor in floors.items()} == {
        ("SE", "SE twin"): (True, False), ("SE", "ISE"): (False, True), ("SE twin", "ISE"): (False, False)
    }  # fmt: skip
    assert floors["SE", "SE twin"].difference.paired
    assert floors["SE", "SE twin"].difference.mean == pytest.approx(np.mean(np.subtract(se, twin)))
    notes = [note for note in table_page(comparison).notes if note.startswith("Noise floor")]
    of_twin, of_ise, of_both = notes
    assert of_twin.startswith(f"Noise floor: SE minus SE twin is {floors['SE', 'SE twin'].difference.mean:+.2f}")
    assert "They are twins: the same attention, whose initial weights are drawn twice; all else is equal." in of_twin
    assert "They are one model by the identity 1 - s(z) = s(-z)" in of_ise
    assert "after Holm over the 3 such pairs" in of_twin
    assert "the two start from the same weights" in of_ise
    assert of_both.startswith("Noise floor: SE twin minus ISE is ")
    assert "one model by the identity" in of_both
    assert "start from the same weights" not in of_both


def test_a_declared_floor_that_is_not_run_is_said():
    table = read_grid(["table=where_they_look", "seed=0", "attention=none,se"])
    comparison = recorded(table, none=[9.0], SE=[10.0])
    assert comparison.has_noise_floor
    assert not comparison.compares_masks
    assert comparison.noise_floors(TOP1) == []
    assert any(note.startswith("Noise floor: not measured yet") for note in table_page(comparison).notes)
    alone = recorded(read_grid(["table=where_they_look", "seed=0", "attention=none,cbam"]), none=[9.0], CBAM=[10.0])
    assert not alone.has_noise_floor
    assert not any(note.startswith("Noise floor") for note in table_page(alone).notes)


def test_rows_that_were_trained_otherwise_are_no_floor():
    which = grid()
    config = {cell.row: cell.config for cell in which.cells}
    precision = {"SE": "32-true", "ISE": "bf16-mixed", "SE twin": "32-true"}
    records = [
        of_config(config[row] | {"seed": seed}, 10.0 + seed, precision=kind)
        for row, kind in precision.items()
        for seed in which.seeds
    ]
    assert [floor.rows for floor in compare(which, records).noise_floors(TOP1)] == [("SE", "SE twin")]


@pytest.mark.parametrize(
    ("one", "other", "twins", "model"),
    [
        (["attention=se"], ["attention=se", "attention.draw=1"], True, True),
        (["attention=se", "attention.draw=2"], ["attention=se", "attention.draw=1"], True, True),
        (["attention=eca"], ["attention=eca", "attention.draw=1"], True, True),
        (["attention=se"], ["attention=se"], False, False),
        (["attention=se"], ["attention=se", "attention.draw=1", "attention.reduction=4"], False, False),
        (["attention=se"], ["attention=se", "attention.draw=1", "attention.stages=[2]"], False, False),
        (["attention=se"], ["attention=se", "attention.draw=1", "recipe.optimizer.lr=0.01"], False, False),
        (["attention=se"], ["attention=eca", "attention.draw=1"], False, False),
        (["attention=none"], ["attention=none", "attention.draw=1"], False, False),
        (["attention=se"], ["attention=ise"], False, True),
        (["attention=se", "attention.draw=1"], ["attention=ise", "attention.draw=1"], False, True),
        (["attention=se"], ["attention=ise", "attention.draw=1"], False, True),
        (["attention=se"], ["attention=ise", "attention.draw=1", "attention.reduction=4"], False, False),
    ],
)
def test_what_is_one_model(one, other, twins, model):
    mine, theirs = (plain(attnlab.config(overrides)) for overrides in (one, other))
    assert are_twins(mine, theirs) == twins
    assert are_one_model(mine, theirs) == are_one_model(theirs, mine) == model
    start = {"start_from": "0123456789ab"}  # whose attention one of the two may have taken over
    assert not are_one_model(mine | start, theirs | start)
