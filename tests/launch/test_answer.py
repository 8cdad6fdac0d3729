"""A sweep and a table end with their answer: the table, the result in words, the files, the next command."""

import sys

from conftest import TINY
from synthetic import of_config, write
from warm import warm

import attnlab
from attnlab.configuration.compose import check
from attnlab.launch.answer import answer_of_sweep, answer_of_table, next_command
from attnlab.tables.comparison import compare
from attnlab.tables.grid import read_grid
from attnlab.tables.undeclared import grid_of


def test_a_sweep_ends_with_its_table(tiny, tmp_path):
    done = warm([sys.executable, "-m", "attnlab.run", "-m", *tiny, "recipe.epochs=1", "attention=none,se", "seed=0,1"])
    assert done.returncode == 0, done.stderr
    end = done.stdout.rpartition("sweep: 4 of 4 done")[2]
    assert "minus none [95 %]" in end
    assert "Undecided against none: se " in end or "than none" in end
    (page,) = (tmp_path / "outputs" / "tables").glob("sweep_*.html")
    assert f"page: {page}; also md, tex, csv" in end
    assert "next: python -m attnlab." in end
    again = warm([sys.executable, "-m", "attnlab.run", "-m", *tiny, "recipe.epochs=1", "attention=none,se", "seed=0,1"])
    assert f"page: {page}" in again.stdout  # all runs are recorded: the answer alone
    dry = warm([sys.executable, "-m", "attnlab.run", "-m", *tiny, "attention=none,se", "dry_run=true"])
    assert "page:" not in dry.stdout


def test_a_table_ends_with_its_table_even_if_a_run_fails(tmp_path):
    bad = "+table.rows.broken=['attention=se','attention.reduction=77']"  # more than a stage of 16 channels has
    command = ["table=demo", f"output_dir={tmp_path}", *TINY, "recipe.epochs=1", "attention=none,se", "seed=0", bad]
    done = warm([sys.executable, "-m", "attnlab.run", *command])
    assert done.returncode == 1
    assert "Unfinished: 2 of 3 runs are recorded." in done.stdout
    assert "No verdict yet: 2 of 3 runs are recorded." in done.stdout
    assert f"page: {tmp_path}/tables/demo_part.html" in done.stdout
    assert "(runs the 1 missing)" in done.stdout


def jobs(*overrides, seeds):
    return [check(attnlab.config([*overrides, one, f"seed={seed}"]))
            for one in ("attention=none", "attention=se") for seed in seeds]  # fmt: skip


def test_no_record_has_no_answer_and_one_run_has_its_row(tmp_path, capsys):
    configs = jobs(f"output_dir={tmp_path}", seeds=[0])
    answer_of_sweep(configs, [])
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "tables").exists()
    write(tmp_path, of_config(configs[1], 20.0))
    answer_of_sweep(configs[1:], ["attention=se", "seed=0"])
    printed = capsys.readouterr().out
    assert "20.00" in printed
    assert "page: " in printed
    assert "next: python -m attnlab.run -m attention=se seed=0,1,2,3,4 " in printed


def test_the_answer_of_a_table_is_of_its_own_folder(tmp_path, monkeypatch, capsys):
    """./results holds the same runs from another machine, with other errors."""
    monkeypatch.chdir(tmp_path)
    arguments = ["table=demo", "attention=none,se", "seed=0,1", "output_dir=outputs"]
    assert answer_of_table(arguments) is None
    for cell in read_grid(arguments).cells:
        for seed in (0, 1):
            config = dict(cell.config) | {"seed": seed}
            write(tmp_path / "outputs", of_config(config, 20.0 + seed))
            write(tmp_path / "results" / "demo", of_config(config, 30.0 + seed))
    answer_of_table(arguments)
    printed = capsys.readouterr().out
    assert "20.50 ± 0.71" in printed
    assert "30.50" not in printed
    assert "Left out" not in printed


def test_the_answer_is_of_this_sweep_only(tmp_path, capsys):
    configs = jobs(f"output_dir={tmp_path}", seeds=[0, 1])
    for number, config in enumerate([*configs, *jobs(f"output_dir={tmp_path}", "model=resnet8", seeds=[0])]):
        write(tmp_path, of_config(config, 20.0 + number * number))
    answer_of_sweep(configs, ["attention=none,se", "seed=0,1"])
    printed = capsys.readouterr().out
    assert "model=resnet20" in printed
    assert "resnet8" not in printed
    assert "20.50 ± 0.71" in printed


def comparison(errors, seeds):
    configs = jobs(seeds=seeds)
    records = [of_config(config, error) for config, error in zip(configs, errors, strict=False)]
    return compare(grid_of(configs, "sweep"), records)


def test_the_next_command():
    typed = ["-m", "attention=none,se", "seed=0"]
    one = next_command(comparison([9, 8], [0]), typed)
    assert one.startswith("python -m attnlab.run -m attention=none,se seed=0,1,2,3,4   (")
    assert next_command(comparison([9], [0]), typed).startswith("python -m attnlab.run -m attention=none,se seed=0   (")
    undecided = next_command(comparison([9, 8, 8.5, 8.2], [0, 1]), typed)
    assert undecided.startswith("python -m attnlab.report power effect=0.5 sd=0.49 comparisons=1   (")
    better = comparison([9, 8, 7, 7.001, 6, 5.001], [0, 1, 2])
    look = next_command(better, [*typed, "output_dir=here"])
    assert look.startswith(f"python -m attnlab.look run={better.grid.cells[1].run_id(0)} output_dir=here   (")
    grid = read_grid(["table=demo", "attention=none,se"])
    records = [of_config(cell.config | {"seed": seed}, 9 - seed) for cell in grid.cells for seed in grid.seeds]
    judge = next_command(compare(grid, records), ["table=demo", "attention=none,se"])
    assert judge.startswith("python -m attnlab.judge table=demo attention=none,se   (")
