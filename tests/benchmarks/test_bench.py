"""The command line of the benchmarks: keys, errors, the JSON file, and the shipped results."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from warm import warm

from attnlab.bench import COMMANDS, main, measure
from attnlab.benchmarks.commands import read_arguments, show_again
from attnlab.benchmarks.report import markdown, read_report
from attnlab.errors import ConfigError


def test_arguments():
    asked, path = read_arguments("step", ["attention=none,se", "repeats=3", "compiled=true", "machine.threads=1"])
    assert (asked.attentions, asked.repeats, asked.overrides, path) == (
        ("none", "se"),
        3,
        ("machine.threads=1",),
        None,
    )
    assert asked.flag("compiled")
    assert not read_arguments("step", [])[0].flag("compiled")
    assert read_arguments("step", [])[0].repeats == 11


@pytest.mark.parametrize(
    ("command", "argument", "message"),
    [
        ("gates", "repeats=0", "wrong value repeats=0; allowed is an integer from 1"),
        ("gates", "repeats=x", "wrong value repeats=x; allowed is an integer from 1"),
        ("gates", "compiled=true", "unknown key compiled of gates; allowed is KEY=VALUE with "),
        ("step", "compiled=1", "wrong value compiled=1; allowed is true or false"),
        ("gates", "loud", "unknown key loud of gates; allowed"),
        ("gates", "json=", "wrong value json=; allowed is the name of a file"),
        ("gates", "shapes=1x16x4", "wrong value shapes=1x16x4; allowed are BxCxHxW"),
        ("roofline", "shapes=1x16x0x0", "wrong value shapes=1x16x0x0; allowed are BxCxHxW"),
        ("step", "shapes=1x16x4x4", "unknown key shapes of step; allowed"),
        ("gates", "attention=sk", "wrong value attention=sk; allowed in this benchmark are se, gc, eca, cbam"),
        ("roofline", "attention=sk", "wrong value attention=sk; allowed in this benchmark are se, gc, eca, cbam"),
        ("step", "machine.thread=1", "unknown key machine.thread; did you mean machine.threads?"),
        ("step", "attention=sse", "unknown choice attention=sse; did you mean se? allowed are"),
        (
            "overhead",
            "machine.precision=64-true",
            "wrong value machine.precision=64-true; allowed in a benchmark are",
        ),
        ("overhead", "recipe.grad_clip=1", "wrong value recipe.grad_clip=1; allowed in this benchmark is null"),
        ("overhead", "recipe.mixup=0.2", "wrong value recipe.mixup=0.2; allowed in this benchmark is null"),
        (
            "overhead",
            "recipe.schedule._target_=torch.optim.lr_scheduler.ConstantLR",
            "wrong value recipe.schedule._target_=torch.optim.lr_scheduler.ConstantLR; allowed is a function of",
        ),
        (
            "step",
            "recipe.stochastic_depth=0.1",
            "wrong value recipe.stochastic_depth=0.1; allowed in this benchmark is",
        ),
        ("data", "model=resnet21", "unknown choice model=resnet21; did you mean "),
    ],
)
def test_errors_name_key_value_and_what_is_allowed(command, argument, message):
    with pytest.raises(ConfigError) as error:
        measure(command, [argument])
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^cannot be written \(.*\): json="):
        measure("roofline", ["attention=se", "shapes=1x16x4x4", "repeats=1", f"json={tmp_path}/file/x.json"])


def test_one_command_from_the_shell(tmp_path):
    """roofline, on one gate: table, JSON, exit status."""
    command = [sys.executable, "-m", "attnlab.bench", "roofline", "attention=eca", "shapes=1x16x4x4,2x8x2x2"]
    path = tmp_path / "there" / "roofline.json"
    done = warm([*command, "repeats=2", f"json={path}", "machine.precision=32-true"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("ratio") < done.stdout.index("case")
    kept = json.loads(path.read_text())
    assert kept["machine"]["command"].startswith("python -m attnlab.bench roofline attention=eca")
    assert kept["machine"]["precision"] == "32-true"
    assert {"device", "threads", "versions", "commit", "dirty"} <= set(kept["machine"])
    assert [row["case"] for row in kept["rows"]] == ["eca (1, 16, 4, 4)", "eca (2, 8, 2, 2)"]


def test_help_lists_every_command():
    done = subprocess.run([sys.executable, "-m", "attnlab.bench", "--help"], capture_output=True, text=True, check=True)
    assert all(f"\n{command} " in done.stdout for command in ("zoo", *COMMANDS))


def test_show_prints_a_report_file(tmp_path, capsys, monkeypatch):
    _, path = measure("roofline", ["attention=se", "shapes=1x16x4x4", "repeats=1", f"json={tmp_path}/x.json"])
    monkeypatch.setattr(sys, "argv", ["bench", "show", str(path), "format=markdown"])
    main()
    assert "## roofline" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "^show: no file is named"),
        (["none.json"], "^not a file that attnlab.bench wrote: none.json"),
        (["x", "format=csv"], "^unknown choice format=csv; allowed are table, markdown"),
    ],
)
def test_show_refuses_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        show_again(arguments)


KEPT = Path(__file__).parents[2] / "results" / "bench"


def test_the_shipped_tables_are_those_of_the_shipped_files():
    kept = sorted(KEPT.glob("*.json"))
    assert len(kept) >= 6
    text = (KEPT / "README.md").read_text()
    for path in kept:
        found = read_report(path)
        assert markdown(found) in text, path.name
        assert not found.machine["dirty"], path.name


def test_the_tables_of_the_page_on_speed_are_taken_from_them():
    page = (KEPT.parent.parent / "docs" / "speed.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| **")]
    assert len(rows) >= 8
    shipped = (KEPT / "README.md").read_text()
    assert [row for row in rows if row not in shipped] == []
