"""The notebooks: short, with outputs; slow: they run, from a copy of the checkout, in which nothing is written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("01_does_se_help", "02_where_does_cbam_look", "03_is_it_chance", "04_my_attention_in_my_net")
MOST_CELLS, MOST_LINES, MOST_BYTES = 22, 12, 900_000
#: of some machine; of a registry
PATHS = re.compile(r"(?<![\w.\])}])/(home|root|tmp|usr|opt|mnt|work|Users|content)\b|\b[A-Z]:\\|://|pypi|conda")
LOGIC = re.compile(r"^\s*(async def|def|class|lambda)\b|=\s*lambda\b", re.MULTILINE)


def read(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


def test_these_are_all():
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_valid_and_was_run_from_top_to_bottom(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
    }  # no version of an interpreter, which would change with every save
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(cell.metadata for cell in cells)
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) // 2
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_its_cells_are_short_and_leave_the_work_to_attnlab(name):
    notebook = read(name)
    assert len(notebook.cells) <= MOST_CELLS
    assert notebook.cells[0].cell_type == "markdown"
    for cell in code(notebook):
        if not cell.source.startswith("%%writefile"):  # a file that a reader would write in an editor
            assert len(re.findall(r"^.*\S", cell.source, re.MULTILINE)) <= MOST_LINES, cell.source
            assert not LOGIC.search(cell.source), cell.source


@pytest.mark.parametrize("name", NAMES)
def test_it_knows_no_machine_and_no_network(name):
    for cell in read(name).cells:
        assert not PATHS.search(cell.source), cell.source
        for output in cell.get("outputs", []):
            texts = [output.get("text", ""), *(v for k, v in output.get("data", {}).items() if k.startswith("text"))]
            assert not any(map(PATHS.search, texts)), texts
    assert any("tempfile.mkdtemp()" in cell.source for cell in code(read(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_writes_nothing_into_the_checkout(name, tmp_path):
    lab, profile = tmp_path / "lab", tmp_path / "ipython" / "profile_default"
    for folder in ("attnlab", "conf", "notebooks", "results"):
        shutil.copytree(ROOT / folder, lab / folder, ignore=shutil.ignore_patterns("__pycache__"))
    if name != "03_is_it_chance":  # it reads the tracked records of table=placebo
        demo = lab / "conf" / "experiment" / "demo.yaml"
        shorter = (
            demo.read_text().replace("train_size: 8000", "train_size: 2000").replace("images: 1000", "images: 500")
        )
        assert shorter != demo.read_text()
        demo.write_text(shorter)  # the runs are shorter here; the outputs that are kept were made with all images
    profile.mkdir(parents=True)
    # By default a command that fails behind a `!` fails nothing.
    (profile / "ipython_config.py").write_text("get_config().InteractiveShell.system_raise_on_error = True\n")
    before = files(lab)
    ended = subprocess.run(
        [
            sys.executable, "-m", "pytest", "--nbmake", "--nbmake-timeout=500", "-p", "no:cacheprovider",
            "--rootdir", str(lab), str(lab / "notebooks" / f"{name}.ipynb"),
        ],
        cwd=lab, capture_output=True, text=True, timeout=1200,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        | {"PYTHONPATH": str(lab), "IPYTHONDIR": str(profile.parent)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 passed" in ended.stdout
    assert files(lab) == before
