"""The tables in results/: `report` writes them anew from the tracked records, byte for byte."""

import shutil
from pathlib import Path

import pytest

from attnlab.configuration.groups import choices
from attnlab.tables.overview import report
from attnlab.tables.write import report_table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
DECLARED = [
    (path.parents[1].name, path.stem) for path in sorted(RESULTS.glob("*/tables/*.csv")) if path.stem != "results"
]
OVERVIEWS = [path.parents[1].name for path in sorted(RESULTS.glob("*/tables/results.csv"))]
#: pictures from what is not tracked: maps are drawn from checkpoints, curves from the logs of epochs
NOT_FROM_RECORDS = ("_maps.png", "_curves.png", "_curves.svg")


def copied(folder, tmp_path):
    """The records and judgements of a folder of results/, without its tables but the maps, to which pages link."""
    copy = tmp_path / folder
    shutil.copytree(RESULTS / folder, copy, ignore=shutil.ignore_patterns("tables"))
    (copy / "tables").mkdir()
    for picture in (RESULTS / folder / "tables").glob("*_maps.png"):
        shutil.copy2(picture, copy / "tables")
    return copy


def differing(folder, copy, stem):
    """The tracked files of a table that were not written anew with the same bytes."""
    tracked = [path for path in (RESULTS / folder / "tables").glob(f"{stem}*") if path.is_file()]
    tracked = [path for path in tracked if not path.name.endswith(NOT_FROM_RECORDS)]
    longer = tuple(other for _, other in DECLARED if other.startswith(f"{stem}_"))  # placebo, placebo_ratio16
    tracked = [path for path in tracked if not longer or not path.name.startswith(longer)]
    assert tracked
    new = [(copy / "tables" / path.name) for path in tracked]
    return [a.name for a, b in zip(tracked, new, strict=True) if not b.is_file() or a.read_bytes() != b.read_bytes()]


def test_each_is_found():
    assert len(DECLARED) >= 4
    assert all(stem in choices("table") for _, stem in DECLARED)


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "stem"), DECLARED)
def test_a_declared_table(folder, stem, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    copy = copied(folder, tmp_path)
    report_table([f"table={stem}", f"output_dir={copy}"])
    assert differing(folder, copy, stem) == []


@pytest.mark.slow
@pytest.mark.parametrize("folder", OVERVIEWS)
def test_an_overview(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    copy = copied(folder, tmp_path)
    report([f"output_dir={copy}"])
    assert differing(folder, copy, "results.") == []
