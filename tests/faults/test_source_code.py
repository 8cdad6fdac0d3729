"""A record knows the code that made it; edited code is neither passed off as done nor averaged without a word."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import TINY
from warm import warm

import attnlab
from attnlab.configuration.compose import plain
from attnlab.configuration.identity import run_id
from attnlab.machine import versions
from attnlab.records import provenance
from attnlab.records.source_code import differences, digests
from attnlab.tables.provenance_notes import provenance_notes, provenance_warnings

MODULE = '''
"""Ours: z = 3 mean(x)."""

import os
from pathlib import Path
from torch import Tensor, nn
from mine.factor import FACTOR


class Ours(nn.Module):
    """x (B, C, H, W) -> z (B, C, 1, 1)."""

    def __init__(self, channels: int, **knobs) -> None:
        super().__init__()
        if os.environ.get("EDIT"):  # what a person does while a sweep runs
            path = Path(__file__)
            path.write_text(path.read_text().replace("FACTOR *", "-FACTOR *"))

    def forward(self, x: Tensor) -> Tensor:
        return FACTOR * x.mean(dim=(2, 3), keepdim=True)
'''
OURS = ["attention=se", "attention._target_=mine.ours.Ours"]
FILES = ("mine/ours.py", "mine/factor.py")


class Lab:
    """An own package, and commands that use it."""

    def __init__(self, folder):
        self.folder, self.outputs = folder, folder / "outputs"
        (folder / "mine").mkdir()
        (folder / "mine" / "__init__.py").write_text("")
        self.write("ours", MODULE)
        self.write("factor", "FACTOR = 3.0\n")

    def write(self, name, text):
        (self.folder / "mine" / f"{name}.py").write_text(textwrap.dedent(text))

    def edit(self, name, old, new):
        path = self.folder / "mine" / f"{name}.py"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def __call__(self, command, *arguments, **env):
        environment = os.environ | {"ATTNLAB_TRUST": "mine"} | env
        where = f"output_dir={self.outputs}"
        return warm([sys.executable, "-m", f"attnlab.{command}", *arguments, where], env=environment)

    def train(self, *arguments, **env):
        return self("run", *arguments, *OURS, *TINY, "recipe.epochs=1", **env)

    def record(self, seed=0):
        config = attnlab.config([*OURS, *TINY, "recipe.epochs=1", f"seed={seed}"])
        return json.loads((self.outputs / run_id(config) / "result.json").read_text())


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # python -m finds packages in the working folder
    return Lab(tmp_path)


def test_edited_code_is_not_found_recorded_and_not_overwritten(lab):
    assert lab.train().returncode == 0
    before = lab.record()
    assert set(FILES) <= before["code"]["attention"].keys()
    lab.edit("ours", "3 mean(x)", "some mean")  # a docstring
    lab.edit("ours", "channels: int,", "channels: 'int',  # an annotation and a comment\n        ")
    assert "found recorded" in lab.train().stdout
    lab.edit("factor", "3.0", "-9.0")
    done = lab.train()
    assert done.returncode == 1
    message = "is recorded, but mine/factor.py changed since; force=true trains anew, code=recorded"
    assert message in done.stderr
    assert lab.record() == before
    dry = lab.train("dry_run=true")
    assert "is recorded, but mine/factor.py" in dry.stdout
    done = lab.train("code=recorded")
    assert (done.returncode, "found recorded" in done.stdout) == (0, True)
    assert lab.train("force=true").returncode == 0
    assert differences(before["code"], lab.record()["code"]) == ["mine/factor.py"]
    assert lab.train().returncode == 0


def test_a_sweep_says_it_once_a_file_and_runs_the_rest(lab):
    assert lab.train("-m", "seed=0,1").returncode == 0
    lab.edit("factor", "3.0", "-9.0")
    done = lab.train("-m", "seed=0,1,2")
    assert done.returncode == 1
    assert done.stderr.count("mine/factor.py changed since") == 1
    assert "attnlab: 2 runs are recorded, but mine/factor.py changed since;" in done.stderr
    assert done.stdout.count("finished, test error") == 1
    dry = lab.train("-m", "seed=0,1,2", "dry_run=true")
    assert [line[:10].strip() for line in dry.stdout.splitlines() if "#" in line] == ["other code"] * 2 + ["recorded"]
    shown = lab("report").stdout
    text = " ".join(shown.split())
    assert "Mixed code: mine/factor.py in 2 versions (2 runs, 1 run)." in text
    done = lab.train("-m", "seed=0,1,2", "code=recorded")
    assert (done.returncode, done.stdout.count("found recorded")) == (0, 3)


def test_what_uses_the_weights_says_that_other_code_trained_them(lab):
    lab.train()
    lab.edit("factor", "3.0", "-9.0")
    name = lab.record()["id"]
    for command in ("evaluate", "look", "judge"):
        arguments = {"look": ["images=1"], "judge": ["parts=calibration", "images=10"]}.get(command, [])
        done = lab(command, f"run={name}", *arguments)
        assert f"attnlab: run {name} was trained by other code (mine/factor.py changed since)" in done.stderr, command
        assert done.returncode == 0, done.stderr
    done = lab("run", "attention=none", *TINY, f"start_from='{name}'")
    assert f"start_from={name}: was trained by other code: mine/factor.py changed since" in done.stderr
    assert done.returncode == 1
    assert lab("run", "attention=none", *TINY, f"start_from='{name}'", "code=recorded").returncode == 0


def test_an_interrupted_run_asks_the_same_question(lab):
    lab.train()
    result = lab.outputs / lab.record()["id"] / "result.json"
    result.unlink()
    lab.edit("factor", "3.0", "-9.0")
    done = lab.train()
    assert done.returncode == 1
    assert "last.ckpt: was trained by other code: mine/factor.py changed since; force=true" in done.stderr
    assert not result.exists()
    done = lab.train("code=recorded")
    assert (done.returncode, "goes on from last.ckpt" in done.stdout) == (0, True)
    assert lab.record()["code_edited"] == ["mine/factor.py"]
    assert "made while code was being edited: mine/factor.py" in " ".join(lab("report").stdout.split())


def test_code_that_is_edited_during_a_sweep_is_not_used_and_the_records_say_so(lab):
    done = lab.train("-m", "seed=0,1", "n_jobs=1", EDIT="1")
    assert done.returncode == 0, done.stderr
    assert "-FACTOR *" in (lab.folder / "mine" / "ours.py").read_text()
    first, second = lab.record(0), lab.record(1)
    assert first["code"] == second["code"]
    assert first["code_edited"] == second["code_edited"] == ["mine/ours.py"]


def test_an_own_package_that_no_commit_holds_is_dirty(lab):
    lab.train()
    assert lab.record()["dirty"] in (True, None)  # None: this package itself lies in no checkout


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_files_that_git_does_not_know_are_dirty(tmp_path):
    root = Path(attnlab.__file__).parent.parent
    for name in ("attnlab", "conf"):
        (tmp_path / name).mkdir()
        for path in (root / name).rglob("*.py" if name == "attnlab" else "*.yaml"):
            target = tmp_path / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    mine = tmp_path / "other" / "mine"
    mine.mkdir(parents=True)
    git(tmp_path, "init")
    git(tmp_path, "add", "attnlab", "conf")
    git(tmp_path, "commit", "-m", "all")
    git(tmp_path / "other", "init")

    def dirty(*own):
        names = "".join(f"Path({str(path)!r})," for path in own)
        code = f"from pathlib import Path; from attnlab.machine.versions import commit; print(commit(({names}))[1])"
        env = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path)
        return done.stdout.strip() or done.stderr

    assert dirty() == "False"
    (tmp_path / "notes.txt").write_text("outside the package")
    assert dirty() == "False"
    (mine / "a.py").write_text("")
    assert dirty(mine) == "True"
    git(tmp_path / "other", "add", "mine")
    git(tmp_path / "other", "commit", "-m", "mine")
    assert dirty(mine) == "False"
    (mine / "b.py").write_text("")
    assert dirty(mine) == "True"
    (tmp_path / "conf" / "attention" / "new.yaml").write_text("")
    assert dirty() == "True"


def test_a_file_that_moves_as_it_is_does_not_differ():
    before = {"head": {"attnlab/a.py": "1", "attnlab/b.py": "2"}}
    assert differences(before, {"head": {"attnlab/room/a.py": "1", "attnlab/b.py": "2"}}) == []
    assert differences(before, {"head": {"attnlab/a.py": "1", "attnlab/b.py": "3"}}) == ["attnlab/b.py"]
    assert differences(before, {"head": {"attnlab/b.py": "2"}}) == ["attnlab/a.py"]


def test_all_that_is_not_installed_is_followed(lab):
    """The package's own __init__, another package, a single file beside it, and where a name is imported from."""
    (lab.folder / "mine" / "__init__.py").write_text("SCALE = 1.0\n")
    (lab.folder / "theirs").mkdir()
    (lab.folder / "theirs" / "__init__.py").write_text("")
    for name, value in (("one", 1.0), ("two", 2.0)):
        (lab.folder / "theirs" / f"{name}.py").write_text(f"GAIN = {value}\n")
    (lab.folder / "single.py").write_text("SHIFT = 0.0\n")
    lab.write(
        "factor",
        """
        import single
        from mine import SCALE
        from theirs.one import GAIN
        from theirs import two
        FACTOR = SCALE * GAIN + single.SHIFT
        """,
    )
    assert lab.train(ATTNLAB_TRUST="mine,theirs").returncode == 0
    files = set(lab.record()["code"]["attention"])
    assert {"mine/__init__.py", "theirs/__init__.py", "theirs/one.py", "theirs/two.py", "single.py"} <= files
    edits = {
        "mine/__init__.py": ("1.0", "9.0"), "theirs/one.py": ("1.0", "9.0"), "single.py": ("0.0", "9.0"),
        "mine/factor.py": ("theirs.one", "theirs.two"),
    }  # fmt: skip
    for name, (old, new) in edits.items():
        path = lab.folder / name
        path.write_text(path.read_text().replace(old, new))
        done = lab.train("dry_run=true")
        assert f"{name} changed since" in done.stdout, name
        path.write_text(path.read_text().replace(new, old))
        assert "is recorded" in lab.train("dry_run=true").stdout
    assert {"attnlab/training/classifier.py", "attnlab/training/weight_decay.py"} <= lab.record()["code"][
        "training"
    ].keys()


def test_a_file_that_is_no_python_breaks_no_report_and_no_other_job(lab):
    lab.train()
    lab.edit("factor", "FACTOR = 3.0", "FACTOR = (")
    assert "mine/factor.py changed" in " ".join(lab("report").stdout.split())
    targets = "attention._target_=mine.ours.Ours,attnlab.attention.se.SE"
    done = lab("run", "-m", targets, "attention=se", "seed=5", *TINY)
    assert done.returncode == 1
    assert "1 failed" in done.stderr
    assert done.stdout.count("finished, test error") == 1


def test_a_job_records_the_commit_that_its_launcher_read(monkeypatch):
    found = iter([("a", False), ("b", True)])
    monkeypatch.setattr(versions, "commit", lambda own=(): next(found))
    provenance._checkout.cache_clear()
    config = plain(attnlab.config(["attention=se"]))
    assert provenance.read_made_by(config).commit == "a"
    assert provenance.read_made_by(config).commit == "a"  # of the same code: as when it was first read
    assert provenance.read_made_by(plain(attnlab.config(["attention=cbam"]))).commit == "b"
    provenance._checkout.cache_clear()


def digest_of(tmp_path, text, name):
    """The digest of a package's module, in a process of its own."""
    folder = tmp_path / name
    (folder / "lone").mkdir(parents=True)
    (folder / "lone" / "__init__.py").write_text("")
    (folder / "lone" / "part.py").write_text(textwrap.dedent(text))
    code = "from attnlab.records.source_code import _digest; print(_digest('lone.part'))"
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(attnlab.__file__).parent.parent)])}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True).stdout


SAME = [
    "def f(x: int, y=1) -> int:\n    '''Doc.'''\n    return x + y  # why\n",
    "def f(x, y: 'float' = 1):\n\n    return (x +\n            y)\n",
    "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ndef f(x, y=1):\n    return x + y\n",
]


def test_a_digest_sees_the_syntax(tmp_path):
    one, same, guarded = (digest_of(tmp_path, text, f"same{number}") for number, text in enumerate(SAME))
    assert one == same
    assert guarded != one  # the import of TYPE_CHECKING itself stays
    other = (
        "def f(x, y=2):\n    return x + y\n",
        "def f(x, y=1):\n    return x - y\n",
        "def g(x, y=1): return x + y\n",
    )
    for number, text in enumerate(other):
        assert digest_of(tmp_path, text, f"other{number}") != one
    imports = [digest_of(tmp_path, f"from {where} import f\n", where) for where in ("lone.a", "lone.room.a", "lone.b")]
    assert imports[0] == imports[1]  # the folder moved
    assert imports[0] != imports[2]
    assert digest_of(tmp_path, "from torch import f\n", "torch_a") != digest_of(tmp_path, "from numpy import f\n", "np")


def test_records_of_old_are_of_unknown_code_and_nothing_else():
    old = {"config": {}, "id": "a"}
    assert list(provenance_warnings([old])) == []
    assert list(provenance_notes([old, old])) == [
        "Code unknown: 2 of 2 runs recorded before attnlab kept digests of the code."
    ]


def found_by(folder, module):
    """Whether a top-level module is one's own, and its version, for a process that finds it in a folder."""
    code = f"from attnlab.records.source_files import *; print(is_own({module!r}), installed_version({module!r}))"
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(attnlab.__file__).parent.parent)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    return done.stdout.split()


def test_what_is_installed_is_known_by_its_version_wherever_it_lies(tmp_path):
    for place in ("here", "target", "lib/site-packages"):
        (tmp_path / place / "lone").mkdir(parents=True)
        (tmp_path / place / "lone" / "__init__.py").write_text("")
    assert found_by(tmp_path / "here", "lone")[0] == "True"
    assert found_by(tmp_path / "lib/site-packages", "lone") == ["False", "unknown"]
    metadata = tmp_path / "target" / "lone-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lone\nVersion: 1.2\n")
    (metadata / "top_level.txt").write_text("lone\n")
    assert found_by(tmp_path / "target", "lone") == ["False", "1.2"]
    assert found_by(tmp_path / "here", "torch")[0] == "False"
    assert found_by(tmp_path / "here", "nowhere")[0] == "False"


def test_an_own_package_that_is_not_found_is_named_and_no_file_of_attnlabs(lab):
    lab.train()
    record = lab.record()
    (lab.folder / "mine").rename(lab.folder / "elsewhere")
    done = lab.train("dry_run=true")
    assert "mine/ours.py is not found here" in done.stdout
    assert "attnlab/" not in done.stdout.split("is recorded, but")[1]
    assert "attnlab/attention/placement.py" in record["code"]["attention"]


def test_a_record_holds_no_digest_of_a_package_that_only_hands_names_on():
    """attnlab/attention/__init__.py: older records have it, and stay as they are when it changes."""
    found = digests(plain(attnlab.config(["attention=cbam"])))
    assert not any("attnlab/attention/__init__.py" in files for files in found.values())
    older = {"attention": found["attention"] | {"attnlab/attention/__init__.py": "0" * 12}}
    assert differences(older, {"attention": found["attention"]}) == []
    assert differences({"attention": found["attention"]}, older) == []
    assert differences(older | {"model": {"gone.py": "0" * 12}}, found | {"model": {}})[-1] == "gone.py"


def test_files_that_compute_nothing_do_not_count_in_older_records():
    """Records of before hold attnlab/configuration/groups.py and names.py, which find yamls for messages."""
    config = plain(attnlab.config(["attention=cbam"]))
    found = digests(config)
    named = {"attnlab/configuration/groups.py", "attnlab/configuration/names.py"}
    assert not any(named & files.keys() for files in found.values())
    older = found | {"attention": found["attention"] | dict.fromkeys(named, "0" * 12)}
    assert differences(older, found) == differences(found, older) == []
    records = [{"id": name, "config": config, "code": code} for name, code in (("a", older), ("b", found))]
    assert [line for line in provenance_warnings(records) if line.startswith("Mixed code")] == []
