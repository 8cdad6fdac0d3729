"""Long numbers in names that people read."""

import synthetic

from attnlab.runs import runs
from attnlab.tables.short_numbers import with_short_numbers
from attnlab.tables.terminal import print_runs
from attnlab.tables.undeclared import grid_of

LEARNING_RATES = (0.0013981961408994052, 0.0084442185152504)


def test_four_digits_or_as_many_as_tell_numbers_apart():
    assert with_short_numbers(["lr=0.0013981961408994052", "lr=1.23456789e-05 wd=0.05"]) == [
        "lr=0.001398", "lr=1.235e-05 wd=0.05",
    ]  # fmt: skip
    assert with_short_numbers(["lr=0.00139819", "lr=0.00139823"]) == ["lr=0.00139819", "lr=0.00139823"]
    near = with_short_numbers(["lr=0.001398196140899", "lr=0.001398196140898"])
    assert near[0] != near[1]
    assert with_short_numbers(["contrast=[0.7123456,1.0]"]) == ["contrast=[0.7123,1.0]"]
    for text in ("listing=12e4567890123456", "start_from=123456789012", "epochs=100000"):
        assert with_short_numbers([text]) == [text]


def test_a_list_of_runs_and_a_table_are_short_and_a_csv_is_exact(tmp_path, capsys, monkeypatch):
    made = [synthetic.record([f"recipe.optimizer.lr={lr}"]) for lr in LEARNING_RATES]
    for record in made:
        synthetic.write(tmp_path, record)
    monkeypatch.setenv("COLUMNS", "80")
    found, _ = runs([f"output_dir={tmp_path}"])
    print_runs(found)
    assert "recipe.optimizer.lr=0.001398" in capsys.readouterr().out
    assert {run.name.rpartition("=")[2] for run in found} == set(map(str, LEARNING_RATES))
    rows = grid_of([record["config"] for record in made], "records").rows
    assert rows == ("lr=0.001398", "lr=0.008444")
