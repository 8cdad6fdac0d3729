"""`run table=NAME` from the command line: a multirun of its own, resumed by issuing it again, failures at the end."""

import sys

from conftest import TINY
from warm import warm

from attnlab.records.record import gather
from attnlab.tables.write import report_table


def table(output_dir, *more):
    arguments = ["table=demo", f"output_dir={output_dir}", *TINY, *more]
    command = [sys.executable, "-m", "attnlab.run", *arguments]
    done = warm(command)
    return arguments, done.returncode, done.stdout, done.stderr


def test_a_table_runs_whatever_can_and_goes_on(tmp_path):
    bad = "+table.rows.broken=['attention=se','attention.reduction=77']"  # more than a stage of 16 channels has
    rows = ("attention=none,se", "seed=0")
    arguments, code, out, err = table(tmp_path / "out", bad, *rows)
    assert code == 1
    assert "table demo: 3 cells, 3 runs, 0 done, 3 to do" in out
    assert "table demo: not the protocol: +table.rows.broken" in out
    assert " model=resnet8 dataset.train_size=400" in out
    assert "1 failed, 0 not finished" in err
    assert "attention.reduction=77; allowed is" in err.strip().splitlines()[-1]
    records, left_out = gather(tmp_path / "out")
    assert (len(records), left_out) == (2, [])
    comparison, *_ = report_table([a for a in arguments if not a.startswith("tracker")])
    assert {row: comparison.results("test/top1_error")[row, ""].runs.n for row in comparison.grid.rows} == {
        "none": 1, "SE": 1, "broken": 0,
    }  # fmt: skip
    assert comparison.missing == 1
    _, code, out, err = table(tmp_path / "out", *rows)
    assert (code, err) == (0, "")
    assert "table demo: 2 cells, 2 runs, 2 done, 0 to do" in out
    assert gather(tmp_path / "out")[0] == records
    _, code, out, _ = table(tmp_path / "out", "attention=none,se", "dry_run=true")
    assert code == 0
    assert "6 runs, 2 done, 4 to do, about" in out
    assert out.count("would run #") == 4


def test_any_launcher_runs_a_table(tmp_path):
    _, code, out, err = table(tmp_path / "out", "attention=se", "seed=1", "hydra/launcher=basic")
    assert code == 0, err
    assert "1 cells, 1 runs, 0 done, 1 to do" in out
    assert len(gather(tmp_path / "out")[0]) == 1


def test_the_config_of_a_table_can_be_shown(tmp_path):
    command = [sys.executable, "-m", "attnlab.run", "table=demo", "--cfg", "job"]
    done = warm(command)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n  rows:\n    none:\n    - attention=none\n" in done.stdout


def test_a_table_with_nothing_to_run_counts_no_gpus(tmp_path, monkeypatch, capsys):
    """Counting them imports torch, which takes seconds."""
    import synthetic

    from attnlab.configuration.compose import compose_file
    from attnlab.launch import table_jobs
    from attnlab.tables.grid import read_grid

    arguments = ["table=demo", "attention=none", f"output_dir={tmp_path}", "code=recorded"]
    for cell in read_grid(arguments).cells:
        for seed in (0, 1, 2):
            synthetic.write(tmp_path, synthetic.of_config(dict(cell.config) | {"seed": seed}))
    monkeypatch.setattr(table_jobs, "wanted", None)
    monkeypatch.setattr(table_jobs, "jobs_at_a_time", None)
    assert table_jobs.jobs(arguments, compose_file("run", arguments)) == []
    assert capsys.readouterr().out == "table demo: 1 cells, 3 runs, 3 done, 0 to do\n"
