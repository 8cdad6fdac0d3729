"""Shared by all tests: one thread a worker, a cache of their own, and a run small enough to train in a second."""

import gc
import os

# Two workers with a thread each: torch's spinning thread pools ruin each other on shared cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# The width of a terminal decides what a line shows of a run's name; pytest-xdist hands on its own.
os.environ.pop("COLUMNS", None)

import composed_once
import meta_shapes
import pytest
import silent

from attnlab.data.batches import generator

composed_once.share()
meta_shapes.share()
TINY = [
    "model=resnet8",
    "dataset.train_size=400",
    "dataset.test_size=100",
    "recipe.epochs=2",
    "recipe.batch_size=50",
    "recipe.validation.images=100",
    "tracker=csv",
]


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["ATTNLAB_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="module")
def _old_objects_are_not_searched_for_garbage() -> None:
    """statsmodels' multipletests and others collect garbage, which takes up to a second among the objects of all tests
    before."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def tiny(tmp_path):
    """Overrides of a run that trains in about a second, into a folder of its own."""
    return [*TINY, f"output_dir={tmp_path / 'outputs'}"]


@pytest.fixture
def draw():
    """A generator for a tuple of integers."""
    return generator


def pytest_terminal_summary(terminalreporter):
    """What tests measured (record_property("figure", ...)), passed or not, and how many silent failures they tried."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    outcomes = {}
    for kind in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(kind, ()):
            name = report.nodeid.removeprefix("tests/").split("[")[0]
            outcomes[name] = outcomes.get(name, True) and report.passed
    tried, found = silent.counted(outcomes)
    if tried:
        terminalreporter.write_line(f"silent wrong numbers tried: {tried}, found: {found}")
    figures = [text for report in reports for name, text in getattr(report, "user_properties", ()) if name == "figure"]
    if figures:
        terminalreporter.section("figures")
        for text in sorted(set(figures)):
            terminalreporter.write_line(text)
