"""load_results has a column for each key that varies; load_history has a row for each epoch."""

import pytest
import synthetic

import attnlab
from attnlab.errors import ConfigError
from attnlab.records.epoch_rows import COLUMNS


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
    assert attnlab.load_results(tmp_path / "nothing").empty


def test_the_history_of_one_run_and_of_all(tmp_path):
    one, other = write(tmp_path, "seed=0", epochs=2), write(tmp_path, "seed=1", epochs=3)
    write(tmp_path, "seed=2")
    history = attnlab.load_history(one[:6], tmp_path)
    assert list(history.columns) == ["id", *COLUMNS]
    assert history["epoch"].tolist() == [0, 1]
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
