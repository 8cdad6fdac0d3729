"""How the package is built: layers initialise themselves, and no file collects unrelated functions.

Which room may import which is checked by import-linter (`make check`, pyproject.toml).
"""

import re
from pathlib import Path

import attnlab

PACKAGE = Path(attnlab.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def test_layers_initialise_themselves():
    assert len(FILES) > 20
    for path in FILES:
        if path.relative_to(PACKAGE).parts[0] in ("models", "attention", "heads"):
            text = path.read_text()
            assert not re.search(r"\b(self|net|model|module)\.apply\(", text), path
            assert "self.modules()" not in text, path


def test_no_file_is_a_drawer():
    assert not [path for path in FILES if path.stem in ("utils", "helpers", "misc", "common")]
