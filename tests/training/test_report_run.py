"""tracker.report=true: the table of a sweep, or of a declared table, as a run of W&B's."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from warm import warm

from attnlab.training import report_run


def inspect(output_dir):
    """The records of the one offline W&B run directly below `output_dir`, as one text."""
    (run,) = output_dir.glob("wandb/offline-run-*/run-*.wandb")
    command = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", "--json", str(run)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "name"),
    [(["-m", "attention=none,se"], "sweep"), (["table=demo", "attention=none,se", "seed=0"], "demo")],
)
def test_a_sweep_sends_its_table_figures_and_files(tiny, overrides, name):
    more = ["recipe.epochs=1", "tracker=wandb_offline", "tracker.report=true"]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    done = warm([sys.executable, "-m", "attnlab.run", *overrides, *tiny, *more], env=clean)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^tracker=wandb: report {name}\w* in the project attnlab, \d+ files$", done.stdout, re.MULTILINE)
    output_dir = Path(tiny[-1].partition("=")[2])
    text = inspect(output_dir)
    records = [json.loads(line) for line in text.splitlines()]
    assert {"history", "artifact"} <= {record.get("type") for record in records}
    for part in (f"report-{name}", "table-file", "image-file", f"report {name}"):
        assert part in text, part


def test_a_report_that_cannot_be_sent_is_one_line(tmp_path, monkeypatch):
    def refuse(*_):
        raise RuntimeError("no server\nand more")

    monkeypatch.setattr(report_run, "_to_wandb", refuse)
    told = report_run.send_report({"kind": "wandb"}, "demo", [], tmp_path)
    assert told == "tracker=wandb: the report was not sent (no server); its files are written"
