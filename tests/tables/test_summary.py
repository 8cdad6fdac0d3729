"""results/README.md: its figures and blocks are what results/summary.py writes from the tracked records."""

import importlib.util
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def summary(monkeypatch):
    """results/summary.py as a module, at home in the checkout."""
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location("summary", ROOT / "results" / "summary.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_blocks_are_replaced_and_an_unknown_one_is_named(summary):
    text = "a\n<!-- x -->\nold\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\n"
    found = summary.with_blocks(text, {"x": "new", "y": "two\nlines"})
    assert found == "a\n<!-- x -->\n\nnew\n\n<!-- end -->\nb\n<!-- y -->\n\ntwo\nlines\n\n<!-- end -->\n"
    assert summary.with_blocks(found, {"x": "new", "y": "two\nlines"}) == found
    with pytest.raises(SystemExit, match=r"^unknown block <!-- y -->; allowed are x$"):
        summary.with_blocks(text, {"x": "new"})


@pytest.mark.slow
def test_the_pages_and_the_figures_are_those_of_the_records(summary, tmp_path, monkeypatch):
    copy = tmp_path / "results"
    for name in (*summary.TABLES, *summary.OTHERS):
        if (ROOT / "results" / name).is_dir():
            shutil.copytree(ROOT / "results" / name, copy / name)
    emptied = dict.fromkeys(("headline", "verdicts", *summary.TABLES, *summary.OTHERS), "to be written")
    for page in ("README.md", "results/README.md"):
        (tmp_path / page).write_text(summary.with_blocks((ROOT / page).read_text(), emptied))
    monkeypatch.setattr(summary, "HERE", copy)
    summary.main()
    for name in ("README.md", "results/README.md", "results/differences.png", "results/latency.png"):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert "<!-- cifar10_cpu -->" in (ROOT / "results" / "README.md").read_text()
