"""Tables from records: grouping, mean and sample sd, names, files; the terminal table."""

import csv
import json
import sys

import numpy as np
import pytest
import synthetic
from masked_tree import tree
from warm import warm

import attnlab
from attnlab.errors import ConfigError
from attnlab.records.record import gather, seal
from attnlab.report import report
from attnlab.tables.overview import compare_selected
from attnlab.tables.table_page import table_page

ERRORS = {("none", 0): 20.0, ("none", 1): 22.0, ("none", 2): 21.0, ("ise", 0): 19.0, ("ise", 1): 18.0}


@pytest.fixture
def outputs(tmp_path):
    for (attention, seed), error in ERRORS.items():
        write(tmp_path, [f"attention={attention}", f"seed={seed}"], error)
    return tmp_path


def write(output_dir, overrides, error):
    made = synthetic.record(overrides, error, params=1000 if "none" in overrides[0] else 1100)
    synthetic.write(output_dir, made)
    return made


def rows(table):
    """{row: its runs} of a comparison."""
    return {result.cell.row: result.runs for result in table.results("test/top1_error").values()}


def test_rows_means_and_sample_sds(outputs):
    (table,), paths, (page,) = report([f"output_dir={outputs}"])
    none, ise = rows(table).values()
    assert (none.label, none.n, ise.label, ise.n) == ("none", 3, "ise", 2)
    assert none.mean("test/top1_error") == pytest.approx(21)
    assert none.sd("test/top1_error") == pytest.approx(np.std([20, 21, 22], ddof=1))
    (section,) = page.sections
    assert [row[:3] for row in section.rows] == [["none", "21.00 ± 1.00", "3"], ["ise", "18.50 ± 0.71", "2"]]
    assert any("Guessing gives 90.00 % top-1 error" in note for note in page.notes)
    assert [path.name for path in paths] == ["results.md", "results.csv", "results.html", "results.png"]
    assert "| none | 21.00 ± 1.00 |" in paths[0].read_text()
    with paths[1].open() as file:
        found = [row for row in csv.DictReader(file) if row["metric"] == "test/top1_error"]
    assert [row["row"] for row in found] == ["none", "ise"]
    assert float(found[1]["sd"]) == pytest.approx(np.std([18, 19], ddof=1))
    assert paths[3].read_bytes().startswith(b"\x89PNG")


def test_selected_records_get_the_statistics_of_a_declared_table(outputs):
    (table,), *_ = report([f"output_dir={outputs}", "attention=none,ise"])
    d = table.results("test/top1_error")["ise", ""].difference
    assert d.paired
    assert (d.n, d.mean) == (2, pytest.approx(np.mean([19 - 20, 18 - 22])))
    assert table.results("test/top1_error")["ise", ""].verdict == "undecided"
    notes = " ".join(table_page(table).notes)
    assert "nothing says how many seeds were planned" in notes
    (table,), *_ = report([f"output_dir={outputs}", "attention=none,ise", "seed=0,1"])
    assert {row: runs.n for row, runs in rows(table).items()} == {"none": 2, "ise": 2}


def test_other_images_are_another_table(outputs):
    record = write(outputs, ["attention=none", "seed=3"], 30)
    synthetic.write(outputs, seal(record | {"data_hash": "1"}))
    tables, *_ = report([f"output_dir={outputs}"])
    assert {table.grid.table["title"][-6:]: len(rows(table)) for table in tables} == {"data 0": 2, "data 1": 1}


def test_a_recipe_that_differs_in_an_interpolated_key_has_another_name(tmp_path):
    write(tmp_path, ["attention=none", "recipe=modern"], 1)
    write(tmp_path, ["attention=none", "recipe=modern", "recipe.augment.flip=true"], 2)
    tables, *_ = report([f"output_dir={tmp_path}"])
    assert [table.grid.table["title"].rsplit("recipe=", 1)[1] for table in tables] == [
        "modern",
        "modern augment.flip=True",
    ]


def test_one_run_has_no_sd(tmp_path):
    write(tmp_path, ["attention=none"], 12.5)
    tables, paths, _ = report([f"output_dir={tmp_path}"])
    assert rows(tables[0])["none"].sd("test/top1_error") is None
    assert "| none | 12.50 |" in paths[0].read_text()


def test_recipes_are_other_tables_and_models_are_columns(outputs):
    write(outputs, ["attention=none", "model=resnet8"], 40)
    write(outputs, ["attention=none", "recipe.epochs=9"], 10)
    tables, *_ = report([f"output_dir={outputs}"])
    assert {table.grid.table["title"]: set(table.grid.columns) for table in tables} == {
        "dataset=cluttered_digits, model=resnet20, attention=none, recipe=quick epochs=9": {""},
        "dataset=cluttered_digits, recipe=quick": {"resnet8", "resnet20"},
    }


def test_overrides_select(outputs):
    write(outputs, ["attention=none", "model=resnet8"], 40)
    write(outputs, ["attention=none", "experiment=demo"], 50)
    tables, *_ = report([f"output_dir={outputs}", "experiment=demo"])
    assert [runs.mean("test/top1_error") for table in tables for runs in rows(table).values()] == [50]
    tables, *_ = report([f"output_dir={outputs}", "model=resnet8", "recipe=quick", "dataset=cluttered_digits"])
    assert sorted(runs.mean("test/top1_error") for table in tables for runs in rows(table).values()) == [40, 50]
    tables, *_ = report([f"output_dir={outputs}", "model=resnet20", "seed=0"])
    assert [runs.n for runs in rows(tables[0]).values()] == [1, 1]
    reason = r"holds no finished run that these overrides select: no run has model=resnet56; the runs have resnet20, "
    with pytest.raises(ConfigError, match=reason):
        report([f"output_dir={outputs}", "model=resnet56"])
    with pytest.raises(ConfigError, match=r"no run meets all of them; without seed=7|no run has seed=7; .* 0, 1, 2$"):
        report([f"output_dir={outputs}", "attention=none", "seed=7"])
    with pytest.raises(ConfigError, match=r"no run meets all of them; without attention=ise, 1 does$"):
        report([f"output_dir={outputs}", "attention=ise", "seed=2"])
    with pytest.raises(ConfigError, match=r"machine\.threads: cannot select records"):
        report([f"output_dir={outputs}", "machine.threads=1"])


@pytest.fixture
def of_a_folder(tmp_path):
    """Runs of an image tree, whose recipe=quick mirrors images, which the embedded set's does not."""
    where = ["dataset=folder", f"dataset.root={tree(tmp_path / 'tree')}", "dataset.image_size=16"]
    output_dir = tmp_path / "outputs"
    write(output_dir, [*where, "attention=none"], 30)
    write(output_dir, [*where, "attention=se", "attention.reduction=8"], 20)
    write(output_dir, ["attention=none"], 10)
    write(output_dir, ["attention=none", "recipe.epochs=9"], 5)
    return output_dir


def errors(*overrides):
    tables = compare_selected(overrides)
    found = [result.runs for table in tables for result in table.results("test/top1_error").values()]
    return sorted(runs.mean("test/top1_error") for runs in found)


def test_a_group_selects_by_the_name_that_tables_print(of_a_folder, capsys):
    where = f"output_dir={of_a_folder}"
    assert errors(where, "recipe=quick") == [5, 10, 20, 30]
    assert capsys.readouterr().err == (
        "recipe=quick: runs with different recipe.epochs (2, 9); select among them by a value, as recipe.epochs=2\n"
    )
    assert errors(where, "recipe=quick", "recipe.epochs=9") == [5]
    assert errors(where, "dataset=folder") == [20, 30]
    assert errors(where, "attention=se") == [20]
    assert capsys.readouterr().err == ""
    assert errors(where, "recipe.epochs=9") == [5]
    assert errors(where, "dataset=folder", "dataset.image_size=16") == [20, 30]
    assert errors(where, "attention=se", "attention.reduction=8") == [20]
    assert errors(where, "attention.reduction=8") == [20]
    assert errors(where, "recipe.augment.flip=true") == [20, 30]
    assert errors(where, "head=linear", "attention.stages=null") == [5, 10, 20, 30]
    listing = next(r for r in gather(of_a_folder)[0] if r["config"]["dataset"].get("listing"))["config"]["dataset"]
    assert errors(where, f"dataset.listing='{listing['listing']}'") == [20, 30]


def test_a_mask_is_a_group_below_its_attention(tmp_path):
    write(tmp_path, ["attention=ise"], 10)
    write(tmp_path, ["attention=se"], 20)
    write(tmp_path, ["attention=none"], 30)  # has no mask
    where = f"output_dir={tmp_path}"
    assert errors(where, "attention=ise") == errors(where, "attention=se", "attention/mask=ignore") == [10]
    assert errors(where, "attention/mask=ignore") == [10]
    assert errors(where, "attention/mask=attend") == [20]


def test_none_has_no_key_of_the_other_rows(tmp_path):
    for overrides, error in ((["none"], 10), (["se", "attention.reduction=8"], 20), (["se"], 30)):
        write(tmp_path, [f"attention={overrides[0]}", *overrides[1:]], error)
    where = f"output_dir={tmp_path}"
    assert errors(where, "attention=none,se", "attention.reduction=16") == [10, 30]
    assert errors(where, "attention=none,se", "attention/mask=attend", "attention.reduction=8,16") == [10, 20, 30]
    assert errors(where, "attention=none,se", "attention.stages=null") == [10, 20, 30]
    assert errors(where, "attention.reduction=16") == [30]


def test_what_is_mixed_is_named_as_one_types_it(tmp_path, capsys):
    for overrides in (["attention=se"], ["attention=se", "attention/mask=reciprocal", "attention.reduction=4"]):
        write(tmp_path, overrides, 10)
    errors(f"output_dir={tmp_path}", "attention=se")
    assert capsys.readouterr().err == (
        "attention=se: runs with different attention.reduction (4, 16), attention/mask (attend, reciprocal); "
        "select among them by a value, as attention.reduction=4\n"
    )


def test_a_name_without_a_file_selects_too(tmp_path, monkeypatch):
    (tmp_path / "own" / "attention").mkdir(parents=True)
    (tmp_path / "own" / "attention" / "energy.yaml").write_text("_target_: mylab.Energy\n")
    record = synthetic.record(["attention=none"], 10)
    config = record["config"] | {"attention": {"_target_": "mylab.Energy"}}
    synthetic.write(tmp_path, synthetic.of_config(config, 20))
    synthetic.write(tmp_path, record)
    where = f"output_dir={tmp_path}"
    assert errors(where, "attention=none,Energy") == [10, 20]
    with pytest.raises(
        ConfigError, match=r"attention=energy; did you mean Energy\? .*; --config-dir or ATTNLAB_CONFIG"
    ):
        report([where, "attention=energy"])
    monkeypatch.setenv("ATTNLAB_CONFIG_DIR", str(tmp_path / "own"))
    assert errors(where, "attention=none,energy") == [10, 20]


def test_what_has_not_finished_and_what_is_not_compared_is_said(tmp_path):
    for overrides, error in ((["attention=none"], 20), (["attention=none", "seed=1"], 22), (["attention=se"], 19)):
        write(tmp_path, overrides, error)
    begun = synthetic.record(["attention=se", "seed=1"])
    (tmp_path / begun["id"]).mkdir()
    (tmp_path / begun["id"] / "config.yaml").write_text(json.dumps(begun["config"]))
    *_, (page,) = report([f"output_dir={tmp_path}", "attention=none,se"])
    assert page.warnings[:2] == [
        "Not finished, so not in the table: se resnet20 cluttered_digits seed=1 (interrupted in epoch 1 of 2).",
        "se is compared with none only at the 1 seed that both have (0); se has 1 run, none 2.",
    ]
    with pytest.raises(ConfigError, match=r"holds no finished run that .* select: Not finished.* \(interrupted in ep"):
        report([f"output_dir={tmp_path}", "attention=se", "seed=1"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.epoch=9", r"^unknown key recipe\.epoch; did you mean recipe\.epochs\?"),
        ("recipe=quik", r"^unknown choice recipe=quik; did you mean quick\? the runs have quick$"),
        ("experiment=dem", r"^experiment=dem: unknown; allowed are .*demo"),
        ("dataset.root=/data", r"^dataset\.root=/data: cannot select records, which hold no path"),
        ("attention=none,sse", r"^unknown choice attention=sse; did you mean \w+\? the runs have ise, none$"),
        (
            "table.paper_columns=[parms]",
            r"^wrong value table\.paper_columns=\['parms'\]; allowed is a list of params, ",
        ),
        ("~attention", r"^cannot select records by ~attention; allowed is attention=VALUE"),
        ("recipe.epochs=glob(*)", r"^cannot select records by recipe\.epochs=glob"),
        ("experiment=demo,cifar10_first_look", r"^several values experiment=.*; allowed is one"),
        ("source=wandb:me/attnlab", r"^source=wandb:me/attnlab: needs table=NAME"),
        ("source=no/such", r"^source=no/such: no such folder; allowed is a folder of records, or wandb:ENTITY/PROJECT"),
    ],
)
def test_what_selects_nothing_is_refused(outputs, override, message):
    with pytest.raises(ConfigError, match=message):
        report([f"output_dir={outputs}", override])


def test_two_records_of_one_run_are_named_until_a_folder_is_chosen(outputs, capsys):
    other = synthetic.record(["attention=ise", "seed=0"], 33.0, params=1100)
    tracked = outputs / "kept" / "records" / f"{other['id']}.json"
    tracked.parent.mkdir(parents=True)
    tracked.write_text(json.dumps(other))
    where = f"output_dir={outputs}"
    assert errors(where, "attention=ise") == [18]
    told = capsys.readouterr().err
    assert f"{tracked} (test/top1_error 33.0)" in told
    assert f"result.json (test/top1_error {ERRORS['ise', 0]})" in told
    assert f"source={outputs / 'kept'} chooses" in told
    assert errors(where, f"source={tracked.parent}") == [33]
    assert errors(where, f"source={outputs / 'kept'}") == [33]


def test_nothing_to_report(tmp_path):
    with pytest.raises(ConfigError, match="holds no finished run"):
        report([f"output_dir={tmp_path}"])


def test_load_results(outputs):
    table = attnlab.load_results(outputs)
    assert len(table) == 5
    assert set(table.attention) == {"none", "ise"}
    assert table.groupby("cell")["test/top1_error"].mean().round(2).tolist() in ([18.5, 21.0], [21.0, 18.5])
    assert {"model", "dataset", "recipe", "seed", "params", "classes", "images_per_second"} <= set(table.columns)


def test_notes_can_be_left_out(tmp_path):
    write(tmp_path, ["attention=none"], 50)
    command = [sys.executable, "-m", "attnlab.report", f"output_dir={tmp_path}"]
    assert "Each run is tested once" in warm(command).stdout
    without = warm([*command, "notes=false"])
    assert (without.returncode, "Each run is tested once" in without.stdout) == (0, False)
    assert "wrong value notes=no; allowed is true or false" in warm([*command, "notes=no"]).stderr
