"""What a table compares: speeds of runs that shared the machine alike, differences over seeds and over images."""

import hashlib
import io

import numpy as np
import pytest
from synthetic import record, write

from attnlab.records.predictions import FILE
from attnlab.records.record import seal
from attnlab.tables.comparison import compare
from attnlab.tables.csv_rows import csv_rows
from attnlab.tables.grid import read_grid
from attnlab.tables.over_images import Interval
from attnlab.tables.table_page import OVER_IMAGES, table_page
from attnlab.tables.write import report_table

DEMO = ["experiment=demo"]
ROWS = {"none": ["attention=none"], "SE": ["attention=se", "attention.reduction=4"]}
SETUP = {"threads": 1, "n_jobs": 1, "runs_per_gpu": 1}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no ./results


def demo(**of_rows):
    return [
        record([*DEMO, *overrides, f"seed={seed}"], 20.0 + seed, **SETUP | of_rows.get(row, {}))
        for row, overrides in ROWS.items()
        for seed in (0, 1)
    ]


def column(text, name):
    (section,) = text.sections
    return [row[section.header.index(name)] for row in section.rows]


def shown(records):
    return table_page(compare(read_grid(["table=demo", "attention=none,se"]), records))


def test_speeds_of_one_setup_are_compared():
    text = shown(demo())
    assert column(text, "images/s") == ["100", "100"]
    assert not any("cannot be compared" in note for note in text.notes)


@pytest.mark.parametrize("other", [{"n_jobs": 2}, {"threads": 2}, {"runs_per_gpu": 3}, {"device": "another CPU"}])
def test_a_row_that_shared_the_machine_otherwise_shows_no_speed(other):
    records = [*demo(SE=other), *(r for r in demo() if r["config"]["attention"]["_target_"].endswith("Identity"))]
    text = shown(records)
    assert column(text, "images/s") == ["100", "–"]
    assert column(text, "s a run") == ["10", "–"]
    (note,) = [note for note in text.notes if "cannot be compared" in note]
    assert note.startswith("images/s and s a run: only of the 2 of 4 runs with device=a CPU, precision=32-true")
    rows = {row["row"]: row for row in csv_rows(compare(read_grid(["table=demo", "attention=none,se"]), records))}
    assert (rows["none"]["images_per_second"], rows["SE"]["images_per_second"]) == (100.0, None)


def test_the_interval_over_images_stands_beside_the_one_over_seeds(tmp_path):
    """From the files that runs leave: of 200 images SE gets 40 wrong, none 50, the same ones at both seeds."""
    grid = read_grid(["table=demo", "attention=none,se"])
    labels = np.arange(200) % 10
    for cell in grid.cells:
        wrong = 50 if cell.row == "none" else 40
        for seed in (0, 1):
            overrides = [*DEMO, *ROWS[cell.row], f"seed={seed}"]
            predicted = np.where(np.arange(200) < wrong, (labels + 1) % 10, labels)
            text = io.BytesIO()
            arrays = {"label": labels.astype("u1"), "predicted": predicted.astype("u1")}
            np.savez_compressed(text, **arrays, confidence=np.full(200, 9999, "u2"))
            checksum = hashlib.sha256(text.getvalue()).hexdigest()
            path = write(tmp_path, record(overrides, wrong / 2 + seed / 10, predictions=checksum))
            (path.parent / FILE).write_bytes(text.getvalue())
    comparison, *_ = report_table(["table=demo", "attention=none,se", f"output_dir={tmp_path}"])
    interval = comparison.over_images["SE", ""]
    assert isinstance(interval, Interval)
    # 10 of 200 images differ by -100 points: mean -5, sd sqrt(0.05 * 0.95 * 200 / 199) * 100
    half = 1.971957 * 100 * np.sqrt(0.05 * 0.95 * 200 / 199) / np.sqrt(200)
    assert (interval.low, interval.high) == pytest.approx((-5 - half, -5 + half), abs=1e-3)
    text = table_page(comparison)
    assert column(text, OVER_IMAGES) == ["–", f"[{-5 - half:+.2f}, {-5 + half:+.2f}]"]
    assert any("would other test images agree" in note for note in text.notes)
    assert OVER_IMAGES not in shown(demo()).sections[0].header  # without predictions


def test_a_row_that_replaces_layers_is_said_to_share_the_others_alone():
    text = table_page(compare(read_grid(["table=demo", "+table.rows.SK=['attention=sk']"]), demo()))
    assert any(note.startswith("SK: this attention replaces convolutions.") for note in text.notes)
    assert not any("replaces convolutions" in note for note in shown(demo()).notes)


def test_a_table_says_which_parents_were_trained_anew_and_which_test_images_are_copies():
    none, se = demo()[:2], demo()[2:]
    parent = seal(none[0] | {"weights": "new"})
    child = seal(se[0] | {"started_from": {"id": parent["id"], "weights": "old"}, "duplicates": {"val": 0, "test": 5}})
    text = " ".join(shown([parent, none[1], child, se[1]]).warnings)
    assert f"1 of 4 runs began with weights of {parent['id']}, which has other weights now." in text
    assert "5 test images are exact copies of training or validation images." in text
    same = seal(child | {"started_from": {"id": parent["id"], "weights": "new"}, "duplicates": {"val": 0, "test": 0}})
    text = " ".join(shown([parent, none[1], same, se[1]]).warnings)
    assert "which has other weights now" not in text
    assert "exact copies" not in text
