"""When a judged part is kept and when it is judged again; two processes that judge one run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic
from conftest import TINY
from masked_tree import tree
from PIL import Image, ImageOps

import attnlab
from attnlab.judge import judge
from attnlab.records.judgement import add_to_judgement, read_judgement, scores
from attnlab.records.judgement_code import code_of
from attnlab.records.record import read_record, seal
from attnlab.tables.grid import read_grid
from attnlab.tables.table_page import table_page
from attnlab.tables.write import report_table

OF_A_TREE = ["dataset=folder", "dataset.image_size=16", "model=resnet8", "recipe.epochs=1",
             "recipe.validation.images=0", "recipe.batch_size=3", "tracker=csv"]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a tree with masks; and one of the embedded set, in float32."""
    folder = tmp_path_factory.mktemp("stands")
    root, where = tree(folder / "tree"), f"output_dir={folder / 'outputs'}"
    of_tree = attnlab.train(attnlab.config([*OF_A_TREE, f"dataset.root={root}", where]))["id"]
    short = [*TINY, "recipe.epochs=1", "machine.precision=32-true", where]
    return folder, of_tree, attnlab.train(attnlab.config([*short, "attention=cbam"]))["id"]


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the tree and of the runs."""
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("judge.json"))
    return tmp_path / "outputs", tmp_path / "tree", *made[1:]


def values(judgement):
    return {name: one["value"] for name, one in scores(judgement).items()}


def test_other_masks_are_judged_again(copy, capsys):
    outputs, root, of_tree, _ = copy
    asked = {"parts": ["localisation", "calibration"], "images": 6, "folders": [f"dataset.root={root}"]}
    before = judge(of_tree, outputs, **asked)
    for path in (root / "masks").rglob("*.bmp"):
        with Image.open(path) as mask:
            inverted = ImageOps.invert(mask.point(lambda value: 255 if value else 0))
        inverted.save(path)
    after = judge(of_tree, outputs, **asked)
    assert values(after)["pointing/gradcam"] == pytest.approx(100 - values(before)["pointing/gradcam"])
    assert f"({of_tree}): localisation is judged again: the objects' masks changed" in capsys.readouterr().out
    assert after["parts"]["calibration"] == before["parts"]["calibration"]
    assert judge(of_tree, outputs, **asked) == after  # kept
    assert "again" not in capsys.readouterr().out


def test_another_transfer_set_of_the_same_name_is_judged_again(copy, capsys):
    outputs, root, of_tree, _ = copy
    own, other = [f"dataset.root={root}"], tree(root.parent / "other", seed=5)
    found = [
        judge(of_tree, outputs, ["transfer/folder"], images=6, folders=[*own, f"transfer.root={there}"])
        for there in (root, other, other)
    ]
    assert found[0]["parts"]["transfer/folder"]["details"] != found[1]["parts"]["transfer/folder"]["details"]
    assert found[1] == found[2]
    assert capsys.readouterr().out.count("transfer/folder is judged again: the transfer set changed") == 1


def test_another_judges_code_judges_again(copy):
    """In a copy of attnlab whose calibration error uses five bins instead of fifteen."""
    outputs, _, _, embedded = copy
    before = judge(embedded, outputs, ["calibration", "localisation"], images=50)
    package, lab = Path(attnlab.__file__).parent, outputs.parent / "lab"
    shutil.copytree(package, lab / "attnlab", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(package.parent / "conf", lab / "conf")
    edited = lab / "attnlab" / "evaluation" / "metrics" / "calibration.py"
    edited.write_text(edited.read_text().replace("n_bins=BINS", "n_bins=5"))
    command = [sys.executable, "-m", "attnlab.judge", f"run={embedded}", "parts=calibration,localisation", "images=50"]
    environment = os.environ | {"PYTHONPATH": str(lab)}
    done = subprocess.run(
        [*command, f"output_dir={outputs}"], capture_output=True, text=True, cwd=lab, env=environment, check=True
    )
    assert (
        f"({embedded}): calibration is judged again: attnlab/evaluation/metrics/calibration.py changed" in done.stdout
    )
    after = read_judgement(outputs / embedded, read_record(outputs / embedded))
    assert after["parts"]["localisation"] == before["parts"]["localisation"]
    assert values(after)["calibration_error"] != values(before)["calibration_error"]


def test_a_run_is_judged_in_its_own_precision(copy, monkeypatch):
    monkeypatch.setattr("attnlab.machine.hardware.cpu_has_bf16", lambda: True)
    outputs, _, _, embedded = copy
    found = judge(embedded, outputs, ["calibration"], images=50)["parts"]["calibration"]
    assert found["settings"]["precision"] == "float32"
    machine = attnlab.config(["machine.precision=bf16-mixed"])["machine"]
    other = judge(embedded, outputs, ["calibration"], images=50, machine=machine)["parts"]["calibration"]
    assert other["settings"]["precision"].startswith("bf16")
    assert other["scores"] != found["scores"]


def test_a_control_that_comes_later_judges_again(copy):
    outputs, _, _, embedded = copy
    assert "pointing/control" not in values(judge(embedded, outputs, ["localisation"], images=20))
    none = attnlab.train(attnlab.config([*TINY, "recipe.epochs=1", f"output_dir={outputs}"]))["id"]
    found = judge(embedded, outputs, ["localisation"], images=20)
    assert "pointing/control" in values(found)
    shutil.rmtree(outputs / none)  # a part keeps the control with which it was judged
    assert judge(embedded, outputs, ["localisation"], images=20) == found


def test_parts_of_an_older_attnlab_are_kept_and_printed(copy, capsys):
    outputs, _, _, embedded = copy
    before = judge(embedded, outputs, ["calibration"], images=50)
    old = {name: item for name, item in before["parts"]["calibration"].items() if name != "of"}
    path = outputs / embedded / "judge.json"
    path.write_text(json.dumps(seal(before | {"parts": {"calibration": old}})))
    assert judge(embedded, outputs, ["calibration"], images=50)["parts"]["calibration"] == old
    printed = capsys.readouterr().out
    assert f"({embedded}): judged by unknown code: calibration; force=true judges again" in printed
    assert judge(embedded, outputs, ["calibration"], images=50, force=True)["parts"]["calibration"]["of"]


def test_two_judges_of_one_run_lose_nothing(copy, monkeypatch):
    """While one process judges calibration, another one judges health and finishes first."""
    from attnlab.evaluation import suite

    outputs, _, _, embedded = copy
    real = suite.JUDGES["calibration"]

    def meanwhile(run, control):
        judge(embedded, outputs, ["health"], images=50)
        return real(run, control)

    monkeypatch.setitem(suite.JUDGES, "calibration", meanwhile)
    assert set(judge(embedded, outputs, ["calibration"], images=50)["parts"]) == {"calibration", "health"}


def test_what_is_no_judgement_of_this_record_is_put_aside(copy, capsys):
    outputs, _, _, embedded = copy
    path = outputs / embedded / "judge.json"
    path.write_text("a person's notes")
    judge(embedded, outputs, ["calibration"], images=50)
    kept = list(path.parent.glob("judge.json.*"))
    assert [other.read_text() for other in kept] == ["a person's notes"]
    assert f"kept as {kept[0].name}" in capsys.readouterr().out


SETTINGS = {"asked": 1000}


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """A function that writes a table's records with their judgements, and returns the table's sheet."""
    monkeypatch.chdir(tmp_path)
    metric = "table.metrics=[test/top1_error,judge/nll]"
    arguments = ["table=demo", "attention=none,se", f"output_dir={tmp_path / 'outputs'}", metric]

    def write(*parts):
        made = [(cell, seed) for cell in read_grid(arguments).cells for seed in (0, 1)]
        for (cell, seed), part in zip(made, parts, strict=True):
            record = synthetic.of_config(cell.config | {"seed": seed}, 8.0 + seed)
            folder = synthetic.write(tmp_path / "outputs", record).parent
            if part is not None:
                one = {"nll": {"value": 0.5 + seed, "beside": 2.3, "meaning": "guessing", "se": None}}
                add_to_judgement(folder, record, "calibration", {"scores": one, "details": {}} | part)
        return table_page(report_table(arguments)[0])

    return write


def of(**other):
    return {"settings": SETTINGS, "of": {"code": code_of("calibration"), "precision": "float32"} | other}


def test_a_table_of_one_judge_says_nothing(judged):
    text = judged(*[of()] * 4)
    assert not [line for line in (*text.warnings, *text.notes) if "judged by" in line or "judges of" in line]


def test_a_table_says_where_its_columns_mix_judges(judged):
    code = {**code_of("calibration"), "attnlab/evaluation/metrics/calibration.py": "0" * 12}
    warned = judged(of(), of(code=code), of(precision="bf16"), {"settings": {"asked": 60}}).warnings
    for line in (
        "Mixed judges of calibration: numbers of images, 1000 (3 runs), 60 (1 run).",
        "Mixed judges of calibration: known code (3 runs), unknown code (1 run).",
        "Mixed judges of calibration: attnlab/evaluation/metrics/calibration.py in 2 versions (2 runs, 1 run).",
        "Mixed judges of calibration: 2 precisions (2 runs, 1 run).",
        "calibration of 1 run judged by other code than today's: attnlab/evaluation/metrics/calibration.py changed. "
        "Run attnlab.judge again to update the scores.",
    ):
        assert line in warned


def test_unknown_judges_are_a_footnote(judged):
    text = judged(*[{"settings": SETTINGS}] * 4)
    assert any(note.startswith("calibration: judged by unknown code for 4 of 4 runs") for note in text.notes)
    assert not [line for line in text.warnings if "judges of" in line]
