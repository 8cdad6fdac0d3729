"""`report table=NAME`: what is compared, what is said, what is written."""

import csv
import json
import re
import sys
from functools import cache

import numpy as np
import pytest
from synthetic import of_config, record, write
from warm import warm

from attnlab.errors import ConfigError
from attnlab.records.judgement import add_to_judgement
from attnlab.records.record import seal
from attnlab.tables.comparison import compare
from attnlab.tables.grid import read_grid
from attnlab.tables.table_page import table_page
from attnlab.tables.write import report_table

TOP1 = "test/top1_error"
#: error by row: six seeds, all rows of one seed moved together
ERRORS = {
    "none": [8.0, 8.4, 7.9, 8.2, 8.1, 8.3],
    "SE": [7.6, 8.1, 7.5, 7.8, 7.7, 8.0],
    "ISE": [7.7, 8.0, 7.6, 7.7, 7.9, 7.9],
    "CBAM": [8.1, 8.3, 8.0, 8.1, 8.2, 8.2],
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no ./results


@cache
def of_six_seeds():
    return read_grid(["table=demo", "table.seeds=[0,1,2,3,4,5]"]).cells


@pytest.fixture
def outputs(tmp_path):
    for cell in of_six_seeds():
        for seed, error in enumerate(ERRORS.get(cell.row, [])):
            write(tmp_path / "outputs", of_config(cell.config | {"seed": seed}, error))
    return tmp_path / "outputs"


def arguments(outputs, *more):
    return ["table=demo", "table.seeds=[0,1,2,3,4,5]", f"output_dir={outputs}", *more]


def rows_of(path):
    with path.open() as file:
        return {row["row"]: row for row in csv.DictReader(file) if row["metric"] == "test/top1_error"}


#: the rows that have all their runs: ICBAM has none
FINISHED = "attention=none,se,ise,cbam"


def test_differences_are_paired_by_seed_and_corrected(outputs):
    part = report_table(arguments(outputs, FINISHED))[0].results(TOP1)
    assert [part[row, ""].bold for row in ("SE", "ISE", "CBAM")] == [True, True, False]
    comparison, *_ = report_table(arguments(outputs))
    entries = {key[0]: entry for key, entry in comparison.results(TOP1).items()}
    assert entries["none"].difference is None
    d = entries["SE"].difference
    assert d.paired
    assert d.mean == pytest.approx(np.mean(np.subtract(ERRORS["SE"], ERRORS["none"])))
    assert not any(entry.bold for entry in entries.values())  # unfinished
    assert (
        part["SE", ""].p_holm == entries["SE"].p_holm == pytest.approx(4 * d.p)
    )  # the smallest of three; the fourth is not there yet
    assert entries["ICBAM"].difference is None
    assert entries["ICBAM"].runs.n == 0
    assert entries["SE"].comparisons == 4  # of the whole table, finished or not


def test_only_the_first_metric_is_judged(outputs):
    comparison, *_ = report_table(arguments(outputs, "table.metrics=[test/loss,test/top1_error]"))
    assert not any(entry.bold for entry in comparison.results(TOP1).values())
    assert comparison.results(TOP1)["SE", ""].p_holm < 0.05


def test_other_seeds_of_a_row_are_no_pairs(outputs):
    grid = read_grid(["table=demo", "table.seeds=[0,1,2,6,7,8]"])
    config = {cell.row: cell.config for cell in grid.cells}
    records = [of_config(config["none"] | {"seed": seed}, 8 + seed / 10) for seed in (0, 1, 2)]
    records += [of_config(config["SE"] | {"seed": seed}, 7 + seed / 7) for seed in (2, 1, 6, 7)]
    d = compare(grid, records).results(TOP1)["SE", ""].difference
    assert (d.n, d.mean) == (2, pytest.approx(np.mean([7 + 1 / 7 - 8.1, 7 + 2 / 7 - 8.2])))


def test_another_backbone_is_no_pair(monkeypatch):
    grid = read_grid(["table=demo", "attention=none,se"])
    none, se = grid.cells
    other = read_grid(["table=demo", "attention=se", "model=resnet14"]).cells[0]
    object.__setattr__(grid, "cells", (none, type(se)("SE", "", se.overrides, other.config)))
    records = [
        of_config(cell.config | {"seed": seed}, 8 + seed + len(cell.row)) for cell in grid.cells for seed in (0, 1)
    ]
    d = compare(grid, records).results(TOP1)["SE", ""].difference
    assert (d.paired, d.n, d.n_baseline) == (False, 2, 2)


def test_the_noise_floor_is_shown_and_explained(outputs):
    comparison, paths, _ = report_table(arguments(outputs))
    (floor,) = comparison.noise_floors(TOP1)
    assert floor.rows == ("SE", "ISE")
    assert floor.difference.mean == pytest.approx(np.mean(np.subtract(ERRORS["SE"], ERRORS["ISE"])))
    text = paths[0].read_text()
    assert f"Noise floor: SE minus ISE is {floor.difference.mean:+.2f}" in text
    assert "They are one model" in text
    partial, *_ = report_table(arguments(outputs, "attention=none,cbam,icbam"))
    assert partial.noise_floors(TOP1) == []
    assert any("not measured yet" in note for note in table_page(partial).notes)


def test_what_a_reader_must_know_stands_first(outputs):
    from attnlab.records.record import gather

    grid = read_grid(arguments(outputs))
    records, _ = gather(outputs)
    first = table_page(compare(grid, records)).warnings
    more_seeds, *first = first
    assert more_seeds == "Not the protocol: table.seeds=[0,1,2,3,4,5]."
    assert first[0] == "Unfinished: 24 of 30 runs are recorded."
    (why,) = first[1:]
    assert why.startswith("No bold and no verdict yet: the table declares 6 seeds a row, and not all are recorded. ")
    changes = {"commit": "1234567890", "device": "a GPU", "precision": "bf16-mixed", "world_size": 2, "dirty": True,
               "versions": {"torch": "2.14.0"}}  # fmt: skip
    mixed = table_page(compare(grid, [seal(records[0] | changes), *records[1:]], ["a/b.json: was changed"])).warnings
    for words in (
        "Mixed commits: abcdef0 (23 runs), 1234567 (1 run).", "Mixed devices: a CPU (23 runs), a GPU (1 run).",
        "Mixed precisions: 32-true (23 runs), bf16-mixed (1 run).",
        "Mixed numbers of processes: 1 (23 runs), 2 (1 run).",
        "Mixed versions of torch: 2.13.0 (23 runs), 2.14.0 (1 run).",
                "1 of 24 runs come from a working tree with uncommitted changes.", "Left out: a/b.json: was changed.",
    ):  # fmt: skip
        assert words in mixed
    part = table_page(report_table(arguments(outputs, "attention=none,se"))[0]).warnings
    assert part[1:] == ["A part of the table: the other rows, columns or seeds were not selected."]


def test_a_cell_of_which_not_all_runs_were_judged_says_so(outputs):
    metric = "judge/nll"
    asked = arguments(outputs, f"table.metrics=[{TOP1},{metric}]")
    cells = {cell.row: cell for cell in of_six_seeds()}
    one = {"value": 0.25, "beside": 2.3, "meaning": "guessing", "se": None}
    for row, seeds in {"SE": [0], "CBAM": range(6), "ISE": [1, 4]}.items():
        for seed in seeds:
            folder = outputs / cells[row].run_id(seed)
            part = {"scores": {"nll": one}, "details": {}, "settings": {"asked": 1000}}
            add_to_judgement(folder, json.loads((folder / "result.json").read_text()), "calibration", part)
    comparison, paths, _ = report_table(asked)
    section = table_page(comparison).sections[0]
    place = section.header.index("NLL, nats")
    said = {row[0]: row[place] for row in section.rows}
    assert said["SE"] == "0.250 (1 of 6)"
    assert said["ISE"] == "0.250 ± 0.000 (2 of 6)"
    assert said["CBAM"] == "0.250 ± 0.000"
    assert said["none"] == "–"
    with paths[2].open() as file:
        rows = {(row["row"], row["metric"]): row for row in csv.DictReader(file)}
    assert [rows["ISE", name]["n"] for name in (TOP1, metric)] == ["6", "2"]
    assert rows["ISE", metric]["seeds"] == "1 4"


def test_a_part_judges_no_more_mildly_than_the_whole(outputs):
    whole = report_table(arguments(outputs))[0].results(TOP1)["SE", ""]
    part = report_table(arguments(outputs, "attention=none,se"))[0].results(TOP1)["SE", ""]
    assert part.detectable == whole.detectable
    assert part.p_holm == whole.p_holm == pytest.approx(4 * whole.difference.p)


def test_runs_that_saw_other_images_are_left_out(outputs):
    from attnlab.records.record import gather

    grid = read_grid(arguments(outputs))
    records, _ = gather(outputs)
    odd = next(r for r in records if r["id"] == grid.cells[1].run_id(3))
    comparison = compare(grid, [seal(r | {"data_hash": "1"}) if r is odd else r for r in records])
    d = comparison.results(TOP1)["SE", ""].difference
    assert d.n == 5
    others = [0, 1, 2, 4, 5]
    assert d.mean == pytest.approx(np.mean(np.subtract(ERRORS["SE"], ERRORS["none"])[others]))
    assert f"Left out: {odd['id']}: its images (data_hash 1) differ from those of most runs" in " ".join(
        table_page(comparison).warnings
    )


def test_a_part_does_not_take_the_place_of_the_table(tmp_path, outputs):
    whole = report_table(["table=demo", f"output_dir={outputs}"])[1]
    before = {path: path.read_bytes() for path in whole}
    part = report_table(["table=demo", f"output_dir={outputs}", "attention=none"])[1]
    assert {path.name for path in part} == {"demo_part.md", "demo_part.tex", "demo_part.csv", "demo_part.html",
                                            "demo_part_report.tex",
                                            "demo_part_costs.png", "demo_part_costs.svg"}  # fmt: skip
    assert {path: path.read_bytes() for path in whole} == before
    assert not list((outputs / "tables").glob("demo_part_differences*"))


def test_without_its_baseline_it_says_so(outputs):
    notes = table_page(report_table(arguments(outputs, "attention=se,ise"))[0]).notes
    assert "No differences: the baseline, none, was not selected." in notes


def test_another_protocol_says_so(tmp_path):
    write(tmp_path / "outputs", record(["experiment=demo", "recipe.epochs=1", "attention=se", "attention.reduction=4"]))
    comparison, paths, _ = report_table(["table=demo", "recipe.epochs=1", f"output_dir={tmp_path / 'outputs'}"])
    assert table_page(comparison).warnings[0] == "Not the protocol: recipe.epochs=1."
    assert "Not the protocol" in re.search(r"\\caption\{.*", paths[1].read_text())[0]


def test_the_paper_stands_beside_ours(tmp_path):
    where = f"output_dir={tmp_path / 'outputs'}"
    cells = {cell.row: cell for cell in read_grid(["table=simam_cifar10", "model=resnet20"]).cells}
    ours = {"none": [7.5, 7.7, 7.4], "SE": [7.6, 7.3, 7.5]}
    for row, errors in ours.items():
        for seed, error in enumerate(errors):
            write(tmp_path / "outputs", of_config(cells[row].config | {"seed": seed}, error))
    comparison, paths, _ = report_table(["table=simam_cifar10", where])
    paper = comparison.results(TOP1)["SE", "ResNet-20"].paper
    assert (paper.error, paper.sd, paper.runs) == (pytest.approx(100 - 92.42), 0.14, 5)
    text = paths[0].read_text()
    assert "7.58 ± 0.14" in text
    assert "SimAM" in text
    assert "100 minus that" in text
    assert re.search(r"minus paper \\\[95 %\\\]", text)
    assert float(next(r for r in csv.DictReader(paths[2].open()) if r["row"] == "SE")["paper"]) == pytest.approx(7.58)


def test_page_and_progress_are_built_once(outputs, monkeypatch):
    from attnlab.tables import comparison, write

    built = []
    for module, name in ((write, "table_page"), (comparison, "progress_of")):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, name=name, function=function: built.append(name) or function(*a))
    report_table(arguments(outputs, FINISHED))
    assert sorted(built) == ["progress_of", "table_page"]


def test_files_say_the_same_everywhere(outputs):
    comparison, paths, _ = report_table(arguments(outputs, FINISHED))
    names = [path.name for path in paths]
    assert names[:5] == ["demo_part.md", "demo_part.tex", "demo_part.csv", "demo_part.html", "demo_part_report.tex"]
    assert {f"demo_part_{name}.{kind}" for name in ("differences", "costs") for kind in ("png", "svg")} <= set(names)
    md, paper, _, page_, tex = (path.read_text() for path in paths[:5])
    mean = f"{np.mean(ERRORS['SE']):.2f}"
    assert f"| SE | **{mean} ± " in md
    assert rf"SE & \textbf{{{mean} $\pm$ " in tex
    assert re.search(rf"^SE & .*\\bfseries {mean}\(", paper, re.MULTILINE)
    assert re.search(rf">SE</a></td>\s*<td style=\"font-weight: bold;\"[^>]*>{mean}\u00a0±\u00a0", page_)
    row = rows_of(paths[2])["SE"]
    assert float(row["mean"]) == pytest.approx(np.mean(ERRORS["SE"]))
    assert float(row["p_holm"]) == pytest.approx(comparison.results(TOP1)["SE", ""].p_holm)
    assert (row["seeds"], row["test"], row["bold"]) == ("0 1 2 3 4 5", "paired t", "True")
    before = {path: path.read_bytes() for path in paths}
    report_table(arguments(outputs, FINISHED))
    assert {path: path.read_bytes() for path in paths} == before  # diffable


def test_nothing_recorded_and_unknown_sources(tmp_path):
    with pytest.raises(
        ConfigError, match=r"table=demo: none of its runs is recorded in output_dir=nowhere or \./results"
    ):
        report_table(["table=demo", "output_dir=nowhere"])
    with pytest.raises(ConfigError, match=r"source=mlflow:x: no such folder; allowed is a folder of records"):
        report_table(["table=demo", "source=mlflow:x"])


def test_the_command_line_composes_only(outputs):
    command = [sys.executable, "-m", "attnlab.report", *arguments(outputs)]
    done = warm(command)
    assert done.returncode == 0, done.stderr
    assert "Noise floor: SE minus ISE" in done.stdout
    assert "No verdict yet: 24 of 30 runs are recorded." in done.stdout
    assert "wrote" in done.stdout
    failed = warm([*command, "attention=eca"])
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert failed.stderr.startswith("attnlab: attention=eca: not in table=demo")
