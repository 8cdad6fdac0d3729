"""The page of each run: what it shows, from which files, and when it is written again."""

import csv
import json

from PIL import Image
from synthetic import of_config, write

from attnlab.records.judgement import add_to_judgement
from attnlab.records.record import seal
from attnlab.tables.class_names import CIFAR100, class_names
from attnlab.tables.grid import read_grid
from attnlab.tables.write import report_table


def test_a_page_for_every_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no ./results
    grid = read_grid(["table=demo", "attention=none,se"])
    for cell in grid.cells:
        for seed in grid.seeds:
            write(tmp_path, of_config(cell.config | {"seed": seed}, 8 + seed))
    run = tmp_path / grid.cells[1].run_id(1)
    record = json.loads((run / "result.json").read_text())
    one = {"value": 0.25, "beside": 2.3, "meaning": "guessing", "se": None}
    add_to_judgement(run, record, "calibration", {"scores": {"nll": one}, "details": {}, "settings": {"asked": 9}})
    with (run / "log.csv").open("w") as file:
        writer = csv.DictWriter(file, ["epoch", "train/top1_error", "val/top1_error"])
        writer.writeheader()
        writer.writerows({"epoch": e, "train/top1_error": 50 - e, "val/top1_error": 60 - e} for e in range(3))
    (run / "look").mkdir()
    Image.new("RGB", (4, 4)).save(run / "look" / "maps.png")
    arguments = ["table=demo", f"output_dir={tmp_path}", "attention=none,se"]
    _, paths, _ = report_table(arguments)
    table = next(path for path in paths if path.suffix == ".html").read_text()
    pages = {path.stem: path for path in (tmp_path / "tables" / "runs").glob("*.html")}
    assert set(pages) == set(grid.run_ids.values())
    assert all(f'href="runs/{name}.html"' in table for name in pages)
    text = pages[run.name].read_text()
    for words in ("se reduction=4, seed 1", "NLL, nats", "guessing", "<svg", "data:image/png;base64,", "reduction: 4"):
        assert words in text, words
    other = pages[grid.cells[0].run_id(0)].read_text()
    assert not any(words in other for words in ("<svg", "Judgement", "data:image/png"))
    stamps = {name: path.stat().st_mtime_ns for name, path in pages.items()}
    write(tmp_path, seal(record | {"seconds": 11.0}))
    report_table(arguments)
    again = {name for name, path in pages.items() if path.stat().st_mtime_ns != stamps[name]}
    assert again == {run.name}


def test_classes_of_cifar_have_names_without_those_of_the_file():
    assert len(CIFAR100) == 100 == len(set(CIFAR100))
    assert list(CIFAR100) == sorted(CIFAR100)
    assert class_names({"dataset": {"_target_": "attnlab.data.cifar.CIFAR10", "classes": 10}})[3] == "cat"
    assert class_names({"dataset": {"_target_": "attnlab.data.svhn.SVHN", "classes": 10}}) is None
