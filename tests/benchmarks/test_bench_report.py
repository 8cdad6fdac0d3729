"""Ratios of rounds, quartiles, the printed tables, and the JSON file."""

import json

import pytest

from attnlab.benchmarks.options import BenchOptions, describe, setting
from attnlab.benchmarks.report import (
    Report,
    Row,
    machine_line,
    markdown,
    ratio_text,
    read_report,
    show,
    spread,
    write_report,
)


@pytest.fixture
def report():
    here = setting(BenchOptions().values("recipe=modern"))
    seconds = {"slow": [2.0, 3.0, 40.0], "fast": [1.0, 1.0, 10.0], "other": [1.0, 1.0, 1.0]}
    rows = [Row("case", seconds, "slow", "fast", target=">= 2x", facts={"as": "r 16", "rate": 1.5}),
            Row("case", seconds, "slow", "fast", unit="extra")]  # fmt: skip
    return Report("gates", "a title", rows, describe(here), {"mean": 1.25})


def test_a_ratio_is_of_each_round(report):
    """A round in which all is ten times slower does not move it; the ratio of the medians is another number."""
    assert report.rows[0].ratios() == [2, 3, 4]
    assert (report.rows[0].ratio().median, report.rows[0].ratio().low, report.rows[0].ratio().high) == (3, 2.5, 3.5)
    assert report.rows[0].times()["fast"].median == 1


def test_spread_of_one_number():
    assert (spread([2.0]).low, spread([2.0]).median, spread([2.0]).high) == (2, 2, 2)


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        ("x", ("2.50x", "2.00-3.00")),
        ("extra", ("+150.0 %", "+100.0 to +200.0")),
        ("share", ("250.0 %", "200.0 to 300.0")),
    ],
)
def test_ratio_text(unit, text):
    assert ratio_text(spread([1.0, 2.0, 2.5, 3.0, 4.0]), unit) == text


def test_rounds_must_match():
    with pytest.raises(AssertionError):
        Row("case", {"a": [1.0], "b": [1.0, 2.0]}, "a", "b")


def test_the_json_is_the_report(report, tmp_path):
    path = tmp_path / "new" / "gates.json"
    write_report(report, path)
    assert read_report(path) == report
    kept = json.loads(path.read_text())
    assert kept["rows"][0]["ratio"] == {"median": 3, "low": 2.5, "high": 3.5}
    assert kept["rows"][0]["median_seconds"] == {"slow": 3, "fast": 1, "other": 1}
    assert kept["rows"][0]["quartiles_seconds"]["slow"] == [2.5, 21.5]
    assert kept["rows"][0]["seconds"]["slow"] == [2, 3, 40]


def test_the_ratio_is_printed_first(report, capsys):
    show(report)
    out = capsys.readouterr().out
    heads = ["ratio", "quartiles", "target", "of / over", "case", "median", "facts"]
    assert sorted(heads, key=out.index) == heads
    assert "+200.0 %" in out
    assert "mean: 1.25" in out


def test_the_machine_in_one_line(report):
    line = machine_line(dict(report.machine) | {"commit": "0123456789abcdef", "dirty": True, "threads": 1})
    assert "1 thread;" in line
    assert "012345678 (dirty)" in line
    assert "torch " in line
    assert "python -m attnlab.bench" in line


def test_what_the_user_chose_replaces_a_default():
    assert BenchOptions().values("recipe=modern")["recipe"]["batch_size"] == 128
    assert BenchOptions(("recipe=quick",)).values("recipe=modern")["recipe"]["batch_size"] == 32
    assert BenchOptions(("recipe.batch_size=8",)).values("recipe=modern")["recipe"]["batch_size"] == 8
    assert BenchOptions(("experiment=ltpa_jetley",)).values("recipe=modern")["model"]["_target_"].endswith("LtpaVGG")
    assert BenchOptions(("attention.reduction=4",)).values(attention="se")["attention"]["reduction"] == 4
    assert "reduction" not in BenchOptions(("attention.reduction=4",)).values()["attention"]  # of none, the baseline


def test_markdown_has_a_row_a_comparison_and_the_machine(report):
    text = markdown(report)
    assert "| **3.00x** | 2.50-3.50 | slow / fast | case | slow 3 s, fast 1 s; as r 16; rate 1.5 |" in text
    assert "| **+200.0 %** | +150.0 to +250.0 | slow / fast | case | slow 3 s, fast 1 s |" in text
    assert "- mean: 1.25" in text
    assert machine_line(report.machine) in text
