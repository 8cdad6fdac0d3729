"""Pictures in a table's page are of the very runs that the table has; so are its curves and its chosen records."""

import json
import shutil

import matplotlib.pyplot as plt
import pytest
from synthetic import of_config, write

from attnlab.errors import ConfigError
from attnlab.evaluation.drawing import map_figures
from attnlab.records.record import seal
from attnlab.tables.grid import read_grid
from attnlab.tables.maps_picture import runs_text
from attnlab.tables.table_page import table_page
from attnlab.tables.write import report_table

TOP1 = "test/top1_error"


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def arguments(outputs, *more):
    return ["table=demo", "attention=none,se", "seed=0", f"output_dir={outputs}", *more]


def records(outputs, error=8.0):
    made = {cell.row: of_config(cell.config | {"seed": 0}, error) for cell in read_grid(arguments(outputs)).cells}
    for record in made.values():
        write(outputs, record)
    return made


def look(outputs, rows):
    """What attnlab.look leaves: a picture of rows, {label: record}."""
    path = outputs / "tables" / "demo_part_maps.png"
    path.parent.mkdir(exist_ok=True)
    return map_figures.save_figure(plt.figure(figsize=(1, 1)), path, runs_text(list(rows.items())))


def page(outputs):
    """(Whether the page shows a picture, its text)."""
    written = {path.suffix: path for path in report_table(arguments(outputs))[1]}
    shown = "data:image/png;base64," in written[".html"].read_text()
    assert ("demo_part_maps.png)" in written[".md"].read_text()) == shown
    return shown, written[".html"].read_text()


def test_a_picture_of_the_tables_runs_is_shown(outputs):
    look(outputs, records(outputs))
    shown, text = page(outputs)
    assert shown
    assert "Maps" not in text


def test_a_picture_of_runs_that_were_trained_anew_is_left_out(outputs, capsys):
    made = records(outputs)
    look(outputs, made)
    again = seal(made["SE"] | {"metrics": made["SE"]["metrics"] | {TOP1: 7.0}})
    write(outputs, again)
    shown, text = page(outputs)
    assert not shown
    line = "Maps left out: demo_part_maps.png shows runs that were trained again since (SE)"
    assert line in text
    assert line in capsys.readouterr().err


def test_a_picture_of_rows_that_the_table_does_not_have_is_left_out(outputs):
    made = records(outputs)
    look(outputs, made | {"CBAM": of_config(made["none"]["config"] | {"seed": 7})})
    shown, text = page(outputs)
    assert not shown
    assert "shows runs that the table does not have (CBAM)" in text


def test_a_picture_without_some_rows_is_marked(outputs):
    made = records(outputs)
    look(outputs, {"none": made["none"]})
    shown, text = page(outputs)
    assert shown
    assert "Maps: demo_part_maps.png does not show SE" in text


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_a_picture_that_says_nothing_of_its_runs_is_left_out(outputs, content):
    records(outputs)
    path = outputs / "tables" / "demo_part_maps.png"
    path.parent.mkdir()
    if content is None:
        map_figures.save_figure(plt.figure(figsize=(1, 1)), path)
    else:
        path.write_bytes(content)
    shown, text = page(outputs)
    assert not shown
    assert "Maps left out: demo_part_maps.png" in text


def test_neither_of_two_results_of_one_run_is_used_until_a_folder_is_chosen(outputs):
    made = records(outputs)
    tracked = outputs.parent / "results" / "some" / "records"
    tracked.mkdir(parents=True)
    other = seal(made["SE"] | {"metrics": made["SE"]["metrics"] | {TOP1: 5.0}})
    (tracked / f"{other['id']}.json").write_text(json.dumps(other))
    comparison, *_ = report_table(arguments(outputs))
    assert [record["id"] for record in comparison.records] == [made["none"]["id"]]
    left_out = next(line for line in table_page(comparison).warnings if line.startswith("Left out"))
    for words in ("result.json (test/top1_error 8.0)", "(test/top1_error 5.0)", "source=results/some chooses"):
        assert words in left_out
    chosen = report_table(arguments(outputs, "source=results/some"))[0]
    assert [record["metrics"][TOP1] for record in chosen.records] == [5.0]
    mine = report_table(arguments(outputs, f"source={outputs}"))[0]
    assert sorted(record["metrics"][TOP1] for record in mine.records) == [8.0, 8.0]
    with pytest.raises(ConfigError, match=r"^source=no/such: no such folder; allowed is"):
        report_table(arguments(outputs, "source=no/such"))
    shutil.rmtree(outputs / made["none"]["id"])
    with pytest.raises(ConfigError, match=r"none of its runs is recorded in .*; left out: .*that differ"):
        report_table(arguments(outputs))


def test_curves_are_of_the_runs_that_the_table_shows(outputs):
    """A folder that holds another training of a run than the record that is shown lends it no curve."""
    made = records(outputs)
    for record in made.values():
        (outputs / record["id"] / "log.csv").write_text("epoch,val/top1_error\n1,9.0\n2,8.0\n")
    names = [path.name for path in report_table(arguments(outputs))[1]]
    assert "demo_part_curves.png" in names
    kept = outputs.parent / "kept"
    for record in made.values():
        write(kept, seal(record | {"metrics": record["metrics"] | {TOP1: 5.0}}))
    names = [path.name for path in report_table(arguments(outputs, f"source={kept}"))[1]]
    assert "demo_part_curves.png" not in names
