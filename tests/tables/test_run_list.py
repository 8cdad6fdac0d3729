"""python -m attnlab.runs: which runs it lists, in which order, and what it prints on a wide and a narrow terminal."""

import csv
import io
import os
import re
import sys

import pytest
import synthetic
from warm import warm

from attnlab.errors import ConfigError
from attnlab.runs import runs
from attnlab.tables.terminal import digits_of, print_runs

ERRORS = {"none": 30.0, "se": 10.0, "cbam": 20.0}


@pytest.fixture
def outputs(tmp_path):
    for day, (attention, error) in enumerate(ERRORS.items()):
        finished = f"2026-01-0{day + 1}T12:00:00+00:00"
        made = synthetic.record([f"attention={attention}"], error, finished=finished, seconds=100.0 - day)
        synthetic.write(tmp_path, made)
    return tmp_path


def fail(output_dir, words="the loss is not finite"):
    (output_dir / "0123456789ab").mkdir()
    (output_dir / "0123456789ab" / "error.json").write_text(f'{{"status": "failed", "error": "{words}"}}')


def attentions(*arguments):
    found, _ = runs(arguments)
    return [run.name.split()[0] if run.name else "" for run in found]


def test_the_order(outputs):
    where = f"output_dir={outputs}"
    assert attentions(where) == ["none", "se", "cbam"]  # the newest last
    assert attentions(where, "sort=error") == ["se", "cbam", "none"]
    assert attentions(where, "sort=time") == ["cbam", "se", "none"]
    assert attentions(where, "sort=name") == ["cbam", "none", "se"]
    fail(outputs)
    assert attentions(where, "sort=error") == ["se", "cbam", "none", ""]
    assert attentions(where, "sort=state")[0] == ""


def test_the_selection(outputs):
    where = f"output_dir={outputs}"
    fail(outputs)
    assert attentions(where, "attention=se") == ["se"]
    assert attentions(where, "attention=se", "seed=0", "recipe=quick") == ["se"]
    assert attentions(where, "seed=0") == ["none", "se", "cbam"]  # not one whose config is not known
    assert attentions(where, "state=failed") == [""]
    assert attentions(where, "state=finished", "attention=se") == ["se"]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "attention=ise",
            r"holds no run that these values select: no run has attention=ise; the runs have cbam, none, se$",
        ),
        ("sort=size", r"^unknown choice sort=size; .*allowed are date, name, time, error, state$"),
        ("format=json", r"^unknown choice format=json; allowed are csv, table$"),
        ("state=broken", r"^unknown choice state=broken; allowed are failed, running, finished, interrupted$"),
        ("state=running", r"^output_dir=.*: holds no run with state=running$"),
        ("last", r"^wrong argument last; allowed is KEY=VALUE, as attention=se$"),
        ("recipe.epoch=3", r"^unknown key recipe\.epoch; did you mean recipe\.epochs\?"),
        ("machine.threads=1", r"^machine\.threads: cannot select records"),
    ],
)
def test_what_is_refused(outputs, argument, message):
    with pytest.raises(ConfigError, match=message):
        runs([f"output_dir={outputs}", argument])


def test_an_empty_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"^output_dir=.*: holds no run$"):
        runs([f"output_dir={tmp_path}"])


def printed(outputs, columns, capsys, monkeypatch, *arguments):
    monkeypatch.setenv("COLUMNS", str(columns))
    print_runs(runs([f"output_dir={outputs}", *arguments])[0])
    return capsys.readouterr().out


def test_a_wide_terminal_shows_whole_ids_and_a_narrow_one_their_first_characters(outputs, capsys, monkeypatch):
    fail(outputs)
    wide = printed(outputs, 120, capsys, monkeypatch)
    assert re.search(
        r"^[0-9a-f]{12}  se resnet20 cluttered_digits seed=0 +finished +10\.00 +2 min +2026-01-02 \d\d:\d\d", wide, re.M
    )
    assert "0123456789ab failed: the loss is not finite" in wide
    narrow = printed(outputs, 80, capsys, monkeypatch)
    assert max(map(len, narrow.splitlines())) <= 80
    assert not re.search(r"[0-9a-f]{12}", narrow)
    assert "0123 failed: the loss is not finite" in narrow
    assert "…" not in narrow
    for text in ("10.00", "20.00", "30.00", "2026-01-02"):
        assert text in narrow


def test_digits_tell_ids_apart():
    assert digits_of(["0123456789ab", "ba9876543210"]) == 4
    assert digits_of(["0123456789ab", "012345ffffff", "012000000000"]) == 7
    assert digits_of(["0123456789ab"]) == 4


def test_the_command_prints_a_table_or_csv(outputs):
    command = [sys.executable, "-m", "attnlab.runs", f"output_dir={outputs}"]
    table = warm(command)
    assert table.returncode == 0, table.stderr
    assert len(re.findall(r"^[0-9a-f]{12}  ", table.stdout, re.M)) == 3
    text = warm([*command, "format=csv", "attention=se"], env=os.environ | {"COLUMNS": "40"})
    (row,) = csv.DictReader(io.StringIO(text.stdout))
    assert (row["attention"], row["model"], row["seed"], row["state"]) == ("se", "resnet20", "0", "finished")
    assert (row["test/top1_error"], row["seconds"], row["reason"]) == ("10.0", "99.0", "")
