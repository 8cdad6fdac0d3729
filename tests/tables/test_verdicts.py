"""What a table says in words, and when it says nothing: verdicts, margins, looks, rows that were trained otherwise."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from synthetic import of_config, write
from test_statistics import simulated_records

from attnlab.errors import ConfigError
from attnlab.tables.comparison import Comparison, compare
from attnlab.tables.grid import read_grid
from attnlab.tables.power_analysis import Design, equivalence_power, seeds_for_equivalence
from attnlab.tables.progress import Progress
from attnlab.tables.spec import check_table
from attnlab.tables.table_page import table_page
from attnlab.tables.write import report_table

TOP1 = "test/top1_error"
SD = 0.2 * 2**0.5  # of the paired differences of simulated_records
ROWS = ("SE", "ISE", "CBAM", "ICBAM")


def demo(seeds, margin=None):
    """The demo's grid with so many seeds, and a margin as its yaml would declare it."""
    grid = read_grid(["table=demo", f"table.seeds={list(range(seeds))}".replace(" ", "")])
    return replace(grid, table=grid.table | {"margin": margin}, changed=())


@pytest.fixture
def tables(monkeypatch):
    """tables(grid, shifts, rng) -> {row: result} of a table of simulated runs, some of the rows shifted."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # multipletests collects at every call, 0.07 s of a big process

    def results(grid, rng, shift=(), looked_at=None):
        records = simulated_records(grid, grid.seeds, rng, dict(shift))
        if looked_at is None:
            return by_row(grid, records)
        return [by_row(grid, {name: r for name, r in records.items() if r["config"]["seed"] < n}) for n in looked_at]

    def by_row(grid, records):
        found = Comparison(grid, Progress(grid, records)).results(TOP1)
        return {row: result for (row, _), result in found.items()}

    return results


def test_the_margin_is_checked():
    table = {"rows": {"none": [], "SE": []}, "seeds": [0]}
    assert check_table("t", table | {"margin": 0.5})["margin"] == 0.5
    assert check_table("t", table | {"margin": None}).get("margin") is None
    for wrong in (0, -1, "0.5", True, float("inf"), float("nan"), [1]):
        with pytest.raises(
            ConfigError, match=r"table\.margin=.*allowed is a number above 0, in the units of test/top1"
        ):
            check_table("t", table | {"margin": wrong})


@pytest.mark.parametrize(
    ("errors", "margin", "verdict"),
    [
        ([7.0, 7.3, 6.9, 7.1, 6.9], None, "better"),
        ([9.0, 9.3, 8.9, 9.1, 8.9], None, "worse"),
        ([8.0, 8.3, 7.8, 8.1, 8.0], None, "undecided"),
        ([8.0, 8.3, 7.8, 8.1, 8.0], 0.5, "equivalent within ±0.5"),
        ([8.0, 8.3, 7.8, 8.1, 8.0], 0.05, "undecided"),
        ([7.0, 7.3, 6.9, 7.1, 6.9], 0.5, "better"),
        ([7.8, 8.01, 7.7, 7.9, 7.79], 0.5, "better, within ±0.5"),
        ([8.2, 8.41, 8.1, 8.3, 8.19], 0.5, "worse, within ±0.5"),
    ],
)
def test_a_verdict_in_words(errors, margin, verdict):
    """Against a baseline of 8.0, 8.2, 7.9, 8.1, 8.0; with the note that explains it."""
    grid = demo(5, margin)
    base = [8.0, 8.2, 7.9, 8.1, 8.0]
    records = [
        of_config(cell.config | {"seed": seed}, (errors if cell.row == "SE" else base)[seed] + wobble(cell.row, seed))
        for cell in grid.cells for seed in range(5)
    ]  # fmt: skip
    comparison = compare(grid, records)
    entry = comparison.results(TOP1)["SE", ""]
    assert entry.verdict == verdict
    assert entry.bold == verdict.startswith(("better", "worse"))
    text = table_page(comparison)
    rows = {row[0]: dict(zip(text.sections[0].header, row, strict=True)) for row in text.sections[0].rows}
    assert rows["SE"]["verdict"] == verdict
    assert rows["none"]["verdict"] == "–"
    (note,) = [note for note in text.notes if note.startswith("verdict: ")]
    assert ("no margin (table.margin) was declared" in note) == (margin is None)
    assert margin is None or f"within ±{margin:g}, the margin that the table declares" in note


def wobble(row, seed):
    """Some spread for the rows that are not looked at: no test without."""
    return 0.0 if row in ("none", "SE") else 0.01 * (-1) ** seed


def test_the_verdict_is_in_every_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grid = demo(3)
    rng = np.random.default_rng(0)
    for cell in grid.cells:
        for seed in range(3):
            shift = {"SE": -3, "ISE": 3}.get(cell.row, 0)
            write(tmp_path / "outputs", of_config(cell.config | {"seed": seed}, 8 + shift + rng.normal(scale=0.05)))
    paths = report_table(["table=demo", "table.seeds=[0,1,2]", "+table.margin=0.7", "output_dir=outputs"])[1]
    md, _, table, html, tex = (path.read_text() for path in paths[:5])
    assert "| verdict |" in md
    assert "verdict</th>" in html
    for word in ("better", "worse", "equivalent within ±0.7"):
        assert f"| {word} |" in md
        assert re.search(rf"& {word.replace('±', re.escape('$' + chr(92) + 'pm$'))} (&|\\\\)", tex)
        assert f">{word}</td>" in html
    assert "within ±0.7, a margin that the table does not declare" in md  # it came from the command line
    rows = {row["row"]: row for row in csv.DictReader(table.splitlines()) if row["metric"] == TOP1}
    assert [rows[row]["verdict"] for row in ("none", "SE", "ISE")] == ["", "better", "worse"]
    assert rows["CBAM"]["margin"] == "0.7"
    assert float(rows["CBAM"]["p_equivalent"]) < float(rows["CBAM"]["p_equivalent_holm"]) <= 0.05
    assert all(float(r["detectable_low"]) < float(r["detectable"]) < float(r["detectable_high"])
               for row, r in rows.items() if row != "none")  # fmt: skip


@pytest.mark.parametrize("others", ["at the margin too", "without effect"])
def test_a_row_at_the_margin_is_not_called_equivalent(tables, others):
    """2,000 whole tables: a row whose true difference is the margin itself is `equivalent` in at most 5 %.

    Of four such rows any (family-wise); and one beside three that are equivalent, where Holm is at its mildest.
    """
    margin = 0.8
    grid, rng = demo(5, margin), np.random.default_rng(0)
    at = dict.fromkeys(ROWS, margin) | {"SE": -margin} if others == "at the margin too" else {"CBAM": margin}
    false = 0
    for _ in range(2000):
        entries = tables(grid, rng, at)
        false += any("within" in entries[row].verdict for row in at)
    assert 0.02 * 2000 <= false <= 0.065 * 2000  # 5 % and three standard errors; under 2 % it would call nothing


def test_equivalence_has_the_power_that_report_power_states(tables):
    """With the seeds of `report power` for four rows, one without effect is found equivalent as often as it says."""
    margin = 0.5
    n = seeds_for_equivalence(margin, SD, "paired", 4)
    grid, rng = demo(n, margin), np.random.default_rng(0)
    far = dict.fromkeys(("ISE", "CBAM", "ICBAM"), 10.0)  # so Holm's first step decides
    # "better, within", by a difference found where there is none, is found equivalent as well
    shown = np.mean(["within" in tables(grid, rng, far)["SE"].verdict for _ in range(600)])
    stated = equivalence_power(margin / SD, Design(n - 1, n**0.5), 0.05 / 4)
    assert stated >= 0.8
    assert shown == pytest.approx(stated, abs=0.05)  # three standard errors
    together = [
        tables(grid, rng)["SE"].verdict for _ in range(150)
    ]  # no row has an effect: Holm's later steps are milder
    assert np.mean(["within" in verdict for verdict in together]) > stated - 0.1


def test_a_look_before_the_end_judges_nothing(tables):
    """Tables without effect, looked at after each seed from 3 to 10: no bold before the end, and at the end 5 %.

    Without that, so many looks find something about three times as often.
    """
    grid, rng = demo(10), np.random.default_rng(0)
    early = wrongly = last = 0
    for _ in range(250):
        looks = tables(grid, rng, looked_at=range(3, 11))
        early += sum(e.bold or e.verdict is not None for look in looks[:-1] for e in look.values())
        wrongly += any(e.p_holm is not None and e.p_holm <= 0.05 for look in looks for e in look.values())
        last += any(e.bold for e in looks[-1].values())
        assert {e.verdict for row, e in looks[-1].items() if row != "none"} <= {"better", "worse", "undecided"}
    assert early == 0
    assert last <= 0.09 * 250  # 5 % and three standard errors
    assert wrongly > 0.10 * 250  # what every look by its own p would have found


def few(comparison_arguments, seeds, rows=None):
    grid = read_grid(comparison_arguments)
    rng = np.random.default_rng(0)
    return grid, [
        of_config(cell.config | {"seed": seed}, 8 + (cell.row == "SE") * -3 + rng.normal(scale=0.1))
        for cell in grid.cells for seed in seeds if rows is None or cell.row in rows
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ["table=placebo"],  # unfinished
        ["table=placebo", "seed=0,1,2,3"],  # a part
        ["table=placebo", "table.seeds=[0,1,2,3]"],  # another declaration, after some looks
    ],
)
def test_fewer_seeds_than_declared_show_differences_and_no_verdict(arguments):
    comparison = compare(*few(arguments, range(4)))
    entry = comparison.results(TOP1)["SE", ""]
    assert entry.difference.low < -2.5 < entry.difference.high or entry.difference.mean < -2.5
    assert entry.p_holm < 0.001
    assert not entry.bold
    assert entry.verdict is None
    text = table_page(comparison)
    (why,) = [line for line in (*text.warnings, *text.notes) if "No bold and no verdict" in line]
    assert "the table declares 12 seeds a row, and not all are recorded" in why
    header, rows = text.sections[0].header, text.sections[0].rows
    assert {row[header.index("verdict")] for row in rows} == {"–"}
    assert "[" in rows[1][3]
    assert not any(note.startswith(("Bold", "verdict")) for note in text.notes)


def test_one_run_that_is_missing_holds_the_table_back():
    grid, records = few(["table=demo", "table.seeds=[0,1,2,3]"], range(4))
    assert compare(grid, records).results(TOP1)["SE", ""].bold
    for gone in ("none", "ICBAM"):
        lost = next(r["id"] for r in records if r["id"] in {c.run_id(0) for c in grid.cells if c.row == gone})
        assert not any(e.bold for e in compare(grid, [r for r in records if r["id"] != lost]).results(TOP1).values())


def test_rows_of_a_part_are_judged_when_their_seeds_are_all_there():
    grid, records = few(["table=demo", "table.seeds=[0,1,2,3]", "attention=none,se"], range(4))
    assert compare(grid, records).results(TOP1)["SE", ""].verdict == "better"


CPU, GPU = "AMD EPYC 9R14, 16 cores", "NVIDIA H200"


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"precision": "bf16-mixed"}, "in precision (bf16-mixed, not 32-true)"),
        ({"device": GPU}, "in kind of device (cuda, not cpu)"),
        ({"machine": "mps"}, "in kind of device (mps, not cpu)"),
        (
            {"precision": "bf16-mixed", "device": GPU},
            "in precision (bf16-mixed, not 32-true) and kind of device (cuda,",
        ),
        ({"device": "Intel(R) Xeon(R) Processor, 2 cores"}, None),
        ({"versions": {"torch": "2.14.0"}}, None),
    ],
)
def test_a_row_trained_otherwise_than_its_baseline_is_not_judged(odd, words):
    """SE far better, CBAM as far: SE's runs of one seed have something else, CBAM's not."""
    grid, records = few(["table=demo", "table.seeds=[0,1,2,3]"], range(4))
    ids = {row: [c.run_id(seed) for c in grid.cells if c.row == row for seed in range(4)] for row in grid.rows}
    for record in records:
        record |= {"device": CPU}
        if record["id"] in ids["CBAM"]:
            record["metrics"] = record["metrics"] | {TOP1: record["metrics"][TOP1] - 3}
        if record["id"] == ids["SE"][2]:
            other = {key: value for key, value in odd.items() if key != "machine"}
            record |= other
            record["config"] = record["config"] | {"machine": {"accelerator": odd.get("machine", "auto")}}
    comparison = compare(grid, records)
    se, cbam = (comparison.results(TOP1)[row, ""] for row in ("SE", "CBAM"))
    assert (cbam.bold, cbam.verdict) == (True, "better")
    assert (se.bold, se.verdict) == ((True, "better") if words is None else (False, None))
    said = [line for line in table_page(comparison).warnings if "No bold and no verdict" in line]
    assert len(said) == (words is not None)
    if words:
        start = "No bold and no verdict for SE: trained under another setup than none at equal seeds, "
        assert said[0].startswith(start)
        assert words in said[0]
        # and its p, which may be of the machine, makes no other row's correction milder
        assert se.p_holm is None
        assert cbam.p_holm == pytest.approx(4 * cbam.difference.p)


def test_a_machine_that_changes_between_seeds_is_no_difference_between_rows():
    grid, records = few(["table=demo", "table.seeds=[0,1,2,3]"], range(4))
    for record in records:
        record |= {"device": GPU if record["config"]["seed"] > 1 else CPU}
    comparison = compare(grid, records)
    assert comparison.results(TOP1)["SE", ""].verdict == "better"
    assert any(line.startswith("Mixed devices: ") for line in table_page(comparison).warnings)


def test_one_seed_has_no_verdict_and_no_column_for_it():
    comparison = compare(*few(["table=demo", "table.seeds=[0]"], [0]))
    assert comparison.results(TOP1)["SE", ""].verdict is None
    assert "verdict" not in table_page(comparison).sections[0].header
