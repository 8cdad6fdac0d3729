"""The wheel, installed where no checkout is, runs a sweep from any folder; so does the editable install."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    target = tmp_path_factory.mktemp("wheel")
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(target)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


def test_the_wheel_holds_conf_and_the_launcher_once(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "attnlab/conf/run.yaml" in names
    assert {
        "attnlab/machine/kernels/passes.c",
        "attnlab/machine/kernels/norms.c",
        "attnlab/machine/kernels/bf16.h",
    } <= set(names)
    assert {"attnlab/conf/attention/mask/ignore.yaml", "attnlab/conf/table/shared/ignore_rows.yaml"} <= set(names)
    assert {f"attnlab/tables/{name}" for name in ("page.html.jinja", "page.css", "table.tex.jinja")} <= set(names)
    assert "attnlab/data/memory.py" in names
    assert [name for name in names if "attnlab_launcher" in name] == ["hydra_plugins/attnlab_launcher/__init__.py"]
    assert not [name for name in names if name.startswith(("tests/", "outputs/", "conf/"))]


@pytest.mark.slow
def test_an_installed_wheel_runs_a_sweep(wheel, tiny, tmp_path):
    """Into an environment of its own; the dependencies, gigabytes of them, are lent by path, without the checkout."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    site = next((home / "lib").glob("python*")) / "site-packages"
    zipfile.ZipFile(wheel).extractall(site)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # .pth files in it, the editable install's among them, are not read
    environment["PYTHONPATH"] = sysconfig.get_paths()["purelib"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    python = str(home / "bin" / "python")

    def call(*arguments):
        return subprocess.run([python, *arguments], cwd=elsewhere, env=environment, capture_output=True, text=True)

    where = call("-c", "import attnlab, hydra_plugins.attnlab_launcher as p; print(attnlab.__file__, p.__file__)")
    assert where.returncode == 0, where.stderr
    assert all(path.startswith(str(site)) for path in where.stdout.split())
    done = call("-m", "attnlab.run", "-m", *tiny, "attention=none,ise")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished, test error") == 2
    assert "sweep: 2 of 2 done" in done.stdout


def test_the_editable_install_finds_the_launcher():
    code = "import hydra_plugins.attnlab_launcher as p; print(p.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True)
    assert Path(done.stdout.strip()).is_relative_to(ROOT / "attnlab" / "plugins"), done.stderr


def test_the_console_command_completes():
    """What a shell asks after `eval "$(attnlab -sc install=bash)"` and a Tab."""
    command = Path(sys.executable).parent / "attnlab"
    environment = os.environ | {"COMP_LINE": "attnlab attention=ic", "COMP_POINT": "20"}
    done = subprocess.run(
        [str(command), "-sc", "query=bash"], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert "attention=icbam" in done.stdout.split(), done.stderr
    install = subprocess.run([str(command), "-sc", "install=bash"], capture_output=True, text=True)
    assert "complete" in install.stdout
