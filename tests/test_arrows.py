"""Imports run one way, and no layer is initialised by a sweep over a finished model."""

import ast
import re
from pathlib import Path

import attnlab

PACKAGE = Path(attnlab.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("attnlab")}


def test_arrows():
    assert len(FILES) > 20
    forbidden = {
        "attention": ("attnlab.models", "attnlab.heads", "attnlab.data", "attnlab.training", "attnlab.slots"),
        "models": ("attnlab.attention", "attnlab.heads", "attnlab.data", "attnlab.training", "attnlab.compose"),
        "heads": ("attnlab.attention", "attnlab.models", "attnlab.data", "attnlab.training"),
        "data": ("attnlab.attention", "attnlab.models", "attnlab.heads", "attnlab.training", "attnlab.compose"),
    }
    for path in FILES:
        family = path.relative_to(PACKAGE).parts[0]
        for name in imports(path):
            assert name not in ("attnlab.run", "attnlab.report") or path.name == "__init__.py", f"{path} imports {name}"
            assert not name.startswith(forbidden.get(family, ())), f"{path} imports {name}"


def test_layers_initialise_themselves():
    for path in FILES:
        if path.relative_to(PACKAGE).parts[0] in ("models", "attention", "heads"):
            text = path.read_text()
            assert not re.search(r"\b(self|net|model|module)\.apply\(", text), path
            assert "self.modules()" not in text, path


def test_no_file_is_a_drawer():
    assert not [path for path in FILES if path.stem in ("utils", "helpers", "misc", "common")]
