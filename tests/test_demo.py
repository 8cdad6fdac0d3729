"""python -m attnlab.demo: the four commands in one process, and what it does not do again."""

import importlib
import re
import sys
from pathlib import Path

import pytest
from conftest import TINY
from warm import warm


def demo(*arguments):
    done = warm([sys.executable, "-m", "attnlab.demo", *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_it_trains_judges_draws_and_prints_the_table(tmp_path):
    rows, some = "attention=none,cbam", "attention=none"
    arguments = [rows, *TINY, "recipe.epochs=1", "seed=0,1", f"output_dir={tmp_path}"]
    first = demo(*arguments)
    assert first.count("finished, test error") == 4
    assert f"judged 4 runs; written to {tmp_path}/<run>/judge.json" in first
    assert first.index("judged 4 runs") < first.index("own mask")  # in the table
    page = tmp_path / "tables" / "demo_part.html"
    assert f"{page}" in first[first.index("wrote ") :].replace("\n", " ")
    assert "demo_part_maps" in page.with_suffix(".md").read_text()
    judgements = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/judge.json")}
    assert len(judgements) == 4

    again = demo(*arguments)
    assert "2 cells, 4 runs, 4 done, 0 to do" in again
    assert "judged" not in again
    assert again[again.rindex("Demo: ") :] == first[first.rindex("Demo: ") :]  # the same table, words and files
    assert {path: path.stat().st_mtime_ns for path in judgements} == judgements

    part = demo(some, *arguments[1:])  # another picture, of the same name
    assert "judged 2 runs" in part
    assert "judged 4 runs" in demo(*arguments)
    (next(iter(judgements)).parent / "result.json").touch()  # as a run that was trained since
    assert "judged 4 runs" in demo(*arguments)


def test_a_dry_run_stays_dry(tmp_path):
    listed = demo(f"output_dir={tmp_path / 'outputs'}", "dry_run=true")
    assert "dry run: 15 jobs, 15 would run" in listed
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("wrong", ["attention=eca", "--cfg", "table=placebo"])
def test_wrong_arguments_fail_before_anything_runs(tmp_path, wrong):
    done = warm([sys.executable, "-m", "attnlab.demo", f"output_dir={tmp_path}", wrong])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("attnlab: ")
    assert done.stderr.count("\n") == 1


def test_what_make_setup_imports_is_there():
    """It imports these once, which writes their bytecode; the torch-free ones in a second process."""
    text = (Path(__file__).parent.parent / "Makefile").read_text().replace("\\\n", " ")
    for name in ("IMPORTED", "WITHOUT_TORCH"):
        (listed,) = re.findall(rf"^{name} := (.+)$", text, flags=re.MULTILINE)
        for module in listed.split(","):
            importlib.import_module(module.strip())
