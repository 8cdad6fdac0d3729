"""load_results has a column for each key that varies; load_history has a row for each epoch."""

import warnings

import pytest
import synthetic

import attnlab
from attnlab.errors import ConfigError
from attnlab.records.epoch_rows import COLUMNS
from attnlab.records.source_code import OtherCode


def write(output_dir, *overrides, epochs=0):
    made = synthetic.record(overrides)
    folder = synthetic.write(output_dir, made).parent
    rows = [",".join([str(n), "10", "0.1", "2.3", "80", "", "", "", "", "100.5", f"{n + 1}.25"]) for n in range(epochs)]
    if epochs:
        (folder / "log.csv").write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return made["id"]


def test_a_key_that_varies_is_a_column_and_one_that_does_not_is_none(tmp_path):
    ids = {
        name: write(tmp_path, *overrides)
        for name, overrides in {
            "none": ["attention=none"],
            "se": ["attention=se", "attention.reduction=8", "attention.stages=[1,2]"],
            "lr": ["attention=se", "recipe.optimizer.lr=0.5"],
        }.items()
    }
    table = attnlab.load_results(tmp_path).set_index("id")
    assert table.loc[ids["se"], "attention.reduction"] == 8
    assert table.loc[ids["lr"], "attention.reduction"] == 16
    assert table["attention.reduction"].isna().tolist() == (table.index == ids["none"]).tolist()
    assert table.loc[ids["lr"], "recipe.optimizer.lr"] == 0.5
    assert table.loc[ids["se"], "recipe.optimizer.lr"] == 0.02
    assert table.loc[ids["se"], "attention.stages"] == "[1,2]"
    assert len(table.groupby("attention.stages", dropna=False)) == 2
    assert table.loc[ids["se"], "attention"] == "se reduction=8 stages=[1,2]"
    assert not {"model.depth", "recipe.epochs", "attention.init_std"} & set(table.columns)


def test_equal_configs_have_no_more_columns_than_one_run(tmp_path):
    write(tmp_path, "seed=0")
    alone = set(attnlab.load_results(tmp_path).columns)
    write(tmp_path, "seed=1")
    assert set(attnlab.load_results(tmp_path).columns) == alone


def test_the_history_of_one_run_and_of_all(tmp_path):
    one, other = write(tmp_path, "seed=0", epochs=2), write(tmp_path, "seed=1", epochs=3)
    write(tmp_path, "seed=2")
    history = attnlab.load_history(one[:6], tmp_path)
    assert list(history.columns) == ["id", *COLUMNS]
    assert history["epoch"].tolist() == [1, 2]
    assert history["train/loss"].tolist() == [2.3, 2.3]
    assert history["val/loss"].isna().all()
    everything = attnlab.load_history(output_dir=tmp_path)
    assert everything.groupby("id").size().to_dict() == {one: 2, other: 3}
    merged = everything.merge(attnlab.load_results(tmp_path), on="id", suffixes=("", " of the run"))
    assert sorted(merged["seed"]) == [0, 0, 1, 1, 1]


def test_a_run_without_its_log_is_named(tmp_path):
    name = write(tmp_path)
    with pytest.raises(ConfigError, match=rf"^run={name}: its log\.csv is missing or holds no epoch$"):
        attnlab.load_history("last", tmp_path)
    assert attnlab.load_history(output_dir=tmp_path).empty


def test_a_folder_without_runs_is_named(tmp_path):
    for load in (attnlab.load_results, lambda folder: attnlab.load_history(output_dir=folder)):
        with pytest.raises(ConfigError, match=r"^output_dir=.*nowhere: no such folder; allowed is "):
            load(tmp_path / "nowhere")
    with pytest.warns(UserWarning, match=rf"^output_dir={tmp_path}: holds no finished run$") as warned:
        assert attnlab.load_results(tmp_path).empty
    assert warned[0].filename == __file__


def test_what_is_nested_in_a_record_is_no_column_and_epochs_count_from_1(tmp_path):
    made = synthetic.record(code={"attention": {"a.py": "0"}}, stretches=[{"commit": "0"}], best_epoch=0)
    synthetic.write(tmp_path, made)
    table = attnlab.load_results(tmp_path)
    assert table["best_epoch"].tolist() == [1]
    assert not {"code", "stretches"} & set(table.columns)


def test_python_names_a_run_as_the_command_line_does(tmp_path):
    plain, other = write(tmp_path, "attention=se", epochs=1), write(tmp_path, "attention=none", epochs=2)
    assert attnlab.load_history("attention=se seed=0", tmp_path)["id"].tolist() == [plain]
    assert attnlab.load_history("none resnet20 cluttered_digits seed=0", tmp_path)["id"].tolist() == [other] * 2
    for load in (attnlab.load, attnlab.load_predictions):
        with pytest.raises(ConfigError, match=r"^run=attention=cbam: no such finished run "):
            load("attention=cbam", tmp_path)
        with pytest.raises(ConfigError, match=rf"^run={plain}: "):  # it is found, but has neither of the two
            load("attention=se", tmp_path)


def test_the_warning_of_other_code_names_the_callers_line(tmp_path, monkeypatch):
    name = write(tmp_path)
    monkeypatch.setattr(
        "attnlab.models.network.load", lambda *run: warnings.warn("other code", OtherCode, stacklevel=2)
    )
    with pytest.warns(OtherCode, match="other code") as warned:
        attnlab.load(name, tmp_path)
    assert warned[0].filename == __file__
