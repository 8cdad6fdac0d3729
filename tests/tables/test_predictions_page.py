"""`report predictions`: of one run, two, a table; what is said, counted, left out and refused."""

import csv
import hashlib
import io
import json
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from synthetic import of_config, record, write
from warm import warm

from attnlab.errors import ConfigError
from attnlab.records.predictions import FILE, load_predictions
from attnlab.records.record import RESULTS, fault, gather
from attnlab.tables.comparison import compare
from attnlab.tables.grid import read_grid
from attnlab.tables.over_images import difference
from attnlab.tables.predictions_page import report_predictions
from attnlab.tables.statistics import paired, welch

IMAGES = 400
RATES = {"none": 0.30, "SE": 0.24, "ISE": 0.31}
DEMO = ["table=demo", "table.seeds=[0,1,2]"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no ./results


def leave(output_dir, config, rate, names=None, data_hash="0"):
    """A record of a run that was wrong on about this share of its images, with its predictions; its id."""
    random = np.random.default_rng([config["seed"], int(1000 * rate)])
    hard = np.random.default_rng(7).beta(0.4, 0.8, size=IMAGES)  # the same for every run, as images are
    label = np.arange(IMAGES) % 10
    wrong = hard > np.quantile(hard, 1 - rate) + random.normal(0, 0.1, IMAGES)
    predicted = np.where(wrong, (label + 1) % 10, label)
    steps = random.integers(6554, 65536, IMAGES)
    text = io.BytesIO()
    arrays = {"label": label.astype("u1"), "predicted": predicted.astype("u1"), "confidence": steps.astype("u2")}
    np.savez_compressed(text, **arrays, **({"names": np.array(names)} if names else {}))
    error = round(float(np.float32(100) * (np.float32(1) - np.float32(1 - wrong.mean()))), 6)
    made = of_config(config, error, predictions=hashlib.sha256(text.getvalue()).hexdigest(), data_hash=data_hash)
    write(output_dir, made)
    (output_dir / made["id"] / FILE).write_bytes(text.getvalue())
    return made["id"]


@pytest.fixture
def outputs(tmp_path):
    """The demo with three seeds of none, SE and ISE."""
    for cell in read_grid(DEMO).cells:
        for seed in (0, 1, 2) if cell.row in RATES else ():
            leave(tmp_path / "outputs", cell.config | {"seed": seed}, RATES[cell.row])
    return tmp_path / "outputs"


def rows_of(path, key):
    with path.open() as file:
        return {row[key]: row for row in csv.DictReader(file)}


def ids_of(outputs, row):
    cell = next(cell for cell in read_grid(DEMO).cells if cell.row == row)
    return [cell.run_id(seed) for seed in (0, 1, 2)]


def test_a_table_has_an_interval_over_images_beside_the_one_over_seeds(outputs):
    sheet, paths = report_predictions([*DEMO, f"output_dir={outputs}"])
    rows = rows_of(next(path for path in paths if path.suffix == ".csv"), "row")
    assert list(rows) == list(RATES)  # what is not recorded has no line
    runs = {row: [load_predictions(name, outputs) for name in ids_of(outputs, row)] for row in RATES}
    for row in ("SE", "ISE"):
        over_seeds = paired([r.error for r in runs[row]], [r.error for r in runs["none"]])
        over_images = difference(runs[row], runs["none"])
        found = {name: float(rows[row][name]) for name in rows[row] if "over" in name}
        assert found == pytest.approx({
            "low_over_seeds": over_seeds.low, "high_over_seeds": over_seeds.high,
            "low_over_images": over_images.low, "high_over_images": over_images.high,
        })  # fmt: skip
        assert over_images.mean == pytest.approx(over_seeds.mean, abs=1e-4)
    # the table itself says the same over seeds
    entries = compare(read_grid(DEMO), gather(outputs)[0]).results("test/top1_error")
    assert entries["SE", ""].difference.low == pytest.approx(float(rows["SE"]["low_over_seeds"]))
    text = next(path for path in paths if path.suffix == ".md").read_text()
    for words in (
        "Over seeds: would other trainings agree",
        "Over images: would other test images agree",
        "Unfinished",
    ):
        assert words in text
    assert 60 < float(rows["SE"]["agreement"]) < 100
    assert float(rows["SE"]["errors_shared"]) > float(rows["SE"]["errors_shared_by_chance"])  # they find the same hard
    picture = matplotlib.image.imread(next(path for path in paths if path.suffix == ".png"))
    assert picture.std() > 0.05
    assert "have predictions" not in text
    assert sheet.sections[0].rows[0][:3] == ["none", sheet.sections[0].rows[0][1], "3/3"]


def test_runs_without_predictions_are_counted_in_one_line(outputs):
    """As all that earlier attnlabs recorded: the others are shown, in pairs that both have."""
    name = ids_of(outputs, "SE")[1]
    config = json.loads((outputs / name / "result.json").read_text())["config"]
    write(outputs, of_config(config | {"deterministic": False}))
    (outputs / name / FILE).unlink()
    sheet, paths = report_predictions([*DEMO, f"output_dir={outputs}"])
    assert "8 of 9 recorded runs have predictions; the page uses only these." in sheet.warnings
    rows = rows_of(next(path for path in paths if path.suffix == ".csv"), "row")
    se, none = ([load_predictions(i, outputs) for i in np.take(ids_of(outputs, row), [0, 2])] for row in ("SE", "none"))
    assert float(rows["SE"]["low_over_images"]) == pytest.approx(difference(se, none).low)
    assert (rows["SE"]["runs"], rows["SE"]["recorded"]) == ("2", "3")


def test_a_table_without_any_is_one_message(tmp_path):
    for cell in read_grid(DEMO).cells[:2]:
        write(tmp_path / "outputs", of_config(cell.config | {"seed": 0}))
    with pytest.raises(ConfigError, match=r"^table=demo: none of its 2 recorded runs has its predictions.npz; runs of"):
        report_predictions([*DEMO, f"output_dir={tmp_path / 'outputs'}"])


def test_an_edited_file_is_left_out_of_a_table(outputs):
    name = ids_of(outputs, "ISE")[0]
    (outputs / name / FILE).write_bytes((outputs / ids_of(outputs, "none")[0] / FILE).read_bytes())
    sheet, _ = report_predictions([*DEMO, f"output_dir={outputs}"])
    assert sum(f"run={name}: its predictions.npz is not the one" in line for line in sheet.warnings) == 1
    assert "8 of 9 recorded runs have predictions; the page uses only these." in sheet.warnings


def test_independent_trainings_are_compared_by_welch(tmp_path):
    """Other backbones at one seed are no pairs; over images they are all the same images."""
    cells = {cell.row: cell for cell in read_grid(["table=saoyan_cifar100"]).cells}
    ids = {}
    for row, seeds in (("no attention", (0, 1, 2)), ("before pooling", (0, 1))):
        ids[row] = [leave(tmp_path, cells[row].config | {"seed": seed}, 0.3 + seed / 30) for seed in seeds]
    _, paths = report_predictions(["table=saoyan_cifar100", f"output_dir={tmp_path}"])
    found = rows_of(next(path for path in paths if path.suffix == ".csv"), "row")["before pooling"]
    runs = {row: [load_predictions(name, tmp_path) for name in names] for row, names in ids.items()}
    d = welch(*([run.error for run in runs[row]] for row in ("before pooling", "no attention")))
    assert (float(found["low_over_seeds"]), float(found["difference"])) == pytest.approx((d.low, d.mean))
    i = difference(runs["before pooling"], runs["no attention"])
    assert (float(found["low_over_images"]), i.mean) == pytest.approx((i.low, d.mean), abs=1e-4)


def test_one_run_by_class(tmp_path):
    names = [f"class {number}" for number in range(10)]
    config = record(["seed=3"])["config"] | {"deterministic": False}
    name = leave(tmp_path, config, 0.3, names=names)
    sheet, paths = report_predictions([f"run={name[:7]}", f"output_dir={tmp_path}"])
    assert paths[0] == tmp_path / "tables" / f"predictions_{name}.md"
    rows = rows_of(next(path for path in paths if path.suffix == ".csv"), "class")
    assert list(rows) == names
    run = load_predictions(name, tmp_path)
    assert sum(int(row[f"{name} wrong"]) for row in rows.values()) == (~run.correct).sum()
    for number, row in enumerate(rows.values()):
        error, low, high = (float(row[f"{name} {key}"]) for key in ("error", "low", "high"))
        assert error == pytest.approx(100 * np.mean(~run.correct[run.label == number]))
        assert low <= error <= high
        assert row[f"{name} mostly"] == names[(number + 1) % 10]
    assert any(f"Error {run.error:.2f} %" in note for note in sheet.notes)


def test_classes_of_cifar_have_names_where_the_file_has_none(tmp_path):
    name = leave(tmp_path, record(["dataset=cifar10"])["config"], 0.3)
    page, _ = report_predictions([f"run={name}", f"output_dir={tmp_path}"])
    assert [row[0] for row in page.sections[0].rows][:2] == ["airplane", "automobile"]
    assert page.sections[0].rows[0][-1] == "automobile"  # what airplanes are mostly taken for


def test_two_runs_are_held_against_each_other(outputs):
    one, other = ids_of(outputs, "none")[0], ids_of(outputs, "SE")[0]
    sheet, paths = report_predictions([f"run={one},{other}", f"output_dir={outputs}"])
    texts = dict(sheet.sections[0].rows)
    runs = [load_predictions(name, outputs) for name in (one, other)]
    only = int(np.sum(~runs[0].correct & runs[1].correct))
    assert texts[f"only {one} wrong"] == str(only)
    assert sum(int(texts[key]) for key in texts if key.startswith(("both", "only"))) == IMAGES
    assert all(path.exists() for path in paths)


def test_what_is_refused(outputs, tmp_path):
    one, other = ids_of(outputs, "none")[0], ids_of(outputs, "SE")[0]
    where = f"output_dir={outputs}"
    odd = leave(outputs, record(["seed=9"])["config"] | {"deterministic": False}, 0.2, data_hash="1")
    for arguments, message in (
        ([], "not one of run=ID, run=ID,ID and table=NAME; give exactly one"),
        ([f"run={one}", "table=demo"], "give exactly one"),
        ([f"run={one}", "seed=1"], "seed=1: not allowed with run=ID; allowed is output_dir"),
        ([f"run={one},{one}"], f"both are run {one}"),
        ([f"run={one},{other},{odd}"], "allowed are one or two"),
        ([f"run={one},{odd}"], "different test images"),
        (["run=nothing"], "run=nothing: no such finished run"),
        (["table=demo", "source=wandb:a/b"], "source=wandb:a/b: no folder; predictions are files beside the records"),
    ):
        with pytest.raises(ConfigError, match=message):
            report_predictions([*arguments, where])
    assert not (outputs / "tables").exists()


def test_the_command_prints_the_page_and_one_message_where_there_is_none(outputs):
    name = ids_of(outputs, "SE")[0]
    command = [sys.executable, "-m", "attnlab.report", "predictions", f"output_dir={outputs}"]
    done = warm([*command, f"run={name}"])
    assert done.returncode == 0, done.stderr
    assert "Error by class" in done.stdout
    assert f"predictions_{name}.png" in done.stdout
    (outputs / name / FILE).write_bytes(b"")
    done = warm([*command, f"run={name}"])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "its checksum differs" in done.stderr


def test_tracked_records_have_none_and_stay_records(monkeypatch):
    root = Path(__file__).parents[2]
    paths = sorted((root / RESULTS).glob("*/records/*.json"))
    assert len(paths) > 100
    for path in paths[::20]:
        assert not fault(json.loads(path.read_text()), path.stem)
    monkeypatch.chdir(root)
    with pytest.raises(
        ConfigError, match=r"table=cifar10_20_epochs: none of its \d+ recorded runs has its predictions.npz"
    ):
        report_predictions(["table=cifar10_20_epochs", "output_dir=nowhere"])


@pytest.mark.parametrize("images", [7, 9, 43])
@pytest.mark.parametrize("right", [0, 1])
def test_a_bin_that_is_all_wrong_or_all_right_has_a_bar(tmp_path, images, right):
    """Wilson's bound misses 0 and 1 by a rounding error for some numbers of images; matplotlib refuses such a bar."""
    label = np.zeros(images, "u1")
    text = io.BytesIO()
    np.savez_compressed(text, label=label, predicted=label + (1 - right), confidence=np.full(images, 30000, "u2"))
    config = read_grid(DEMO).cells[0].config | {"seed": 0}
    made = of_config(config, 100.0 * (1 - right), predictions=hashlib.sha256(text.getvalue()).hexdigest())
    write(tmp_path, made)
    (tmp_path / made["id"] / FILE).write_bytes(text.getvalue())
    report_predictions([f"run={made['id']}", f"output_dir={tmp_path}"])
    assert list((tmp_path / "tables").glob("*.png"))
