"""python -m attnlab says what there is; --version is attnlab's."""

import re
import sys
from pathlib import Path

from warm import warm

import attnlab


def test_it_lists_every_command():
    done = warm([sys.executable, "-m", "attnlab"])
    assert done.returncode == 0, done.stderr
    named = set(re.findall(r"^python -m attnlab\.(\w+)", done.stdout, re.M))
    doors = {path.stem for path in Path(attnlab.__file__).parent.glob("*.py") if "@command_line(" in path.read_text()}
    assert named == doors - {"__main__"}
    assert warm([sys.executable, "-m", "attnlab", "--help"]).stdout == done.stdout


def test_the_version_is_attnlabs():
    for command in ("attnlab", "attnlab.run"):
        done = warm([sys.executable, "-m", command, "--version"])
        assert (done.returncode, done.stdout) == (0, f"attnlab {attnlab.__version__}\n"), done.stderr


def test_any_other_argument_is_refused():
    done = warm([sys.executable, "-m", "attnlab", "attention=se"])
    assert done.returncode == 1
    assert done.stderr == (
        "attnlab: wrong argument attention=se; allowed is --version; python -m attnlab lists the commands\n"
    )
