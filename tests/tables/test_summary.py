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


def test_a_block_is_replaced_and_a_missing_one_is_named(summary):
    text = "a\n<!-- x -->\nold\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\n"
    assert summary.with_block(text, "x", "new") == text.replace("old", "\nnew\n")
    assert summary.with_block(text, "y", "new").startswith("a\n<!-- x -->\nold\n<!-- end -->\nb\n")
    with pytest.raises(SystemExit, match=r"needs one block <!-- z -->"):
        summary.with_block(text, "z", "new")


@pytest.mark.slow
def test_the_page_and_its_figures_are_those_of_the_records(summary, tmp_path, monkeypatch):
    copy = tmp_path / "results"
    for name in summary.TABLES:
        if (ROOT / "results" / name).is_dir():
            shutil.copytree(ROOT / "results" / name, copy / name)
    page = (ROOT / "results" / "README.md").read_text()
    for name in ("verdicts", *summary.TABLES):
        page = summary.with_block(page, name, "to be written")
    (copy / "README.md").write_text(page)
    monkeypatch.setattr(summary, "HERE", copy)
    summary.main()
    for name in ("README.md", "differences.png", "latency.png"):
        assert (copy / name).read_bytes() == (ROOT / "results" / name).read_bytes(), name
