"""What a config names by _target_ is imported, or one message says why it cannot be."""

import pytest

from attnlab.configuration.imported import imported
from attnlab.errors import ConfigError

CASES = {
    "broken.Net": r"ModuleNotFoundError: No module named 'no_such_package' \(.*broken\.py, line 1\)$",
    "worse.Net": r"ZeroDivisionError: division by zero \(.*worse\.py, line 2\)$",
    "good.nett": r"good has no nett; did you mean Net\?$",
    "good.nothing_like_it": r"good has no nothing_like_it$",
    "good.Net.missing": r"good\.Net has no missing$",
    "good": r"it is a module; allowed is a class or a function in it$",
    "absent.Net": r"ModuleNotFoundError: No module named 'importable_lab\.absent'$",
}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    folder = tmp_path / "importable_lab"
    folder.mkdir()
    for name, text in {
        "__init__": "", "broken": "import no_such_package\n", "worse": "\nx = 1 / 0\n", "good": "class Net: ...\n",
    }.items():  # fmt: skip
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)


def test_why_something_cannot_be_imported(lab, capfd):
    assert imported("importable_lab.good.Net", "model._target_").__name__ == "Net"
    for path, reason in CASES.items():
        start = rf"^cannot import model\._target_=importable_lab\.{path}: ".replace("good.", r"good\.")
        with pytest.raises(ConfigError, match=start + (r"importable_lab\." * (" has no " in reason)) + reason):
            imported(f"importable_lab.{path}", "model._target_")
    assert capfd.readouterr() == ("", "")
