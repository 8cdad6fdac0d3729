"""An installed wheel, a bare checkout and an editable install find conf/ and run sweeps from any folder."""

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


def test_the_wheel_holds_conf_and_nothing_outside_the_package(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "attnlab/conf/run.yaml" in names
    assert {
        "attnlab/machine/kernels/passes.c",
        "attnlab/machine/kernels/norms.c",
        "attnlab/machine/kernels/bf16.h",
    } <= set(names)
    assert {"attnlab/conf/attention/mask/ignore.yaml", "attnlab/conf/table/shared/ignore_rows.yaml"} <= set(names)
    assert {f"attnlab/tables/{name}" for name in ("page.html.jinja", "page.js", "paper.tex.jinja")} <= set(names)
    assert "attnlab/data/memory.py" in names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"attnlab"}


@pytest.fixture
def call(tmp_path):
    """call(home, *arguments): a Python that finds attnlab in the folder `home` only, run in another folder.

    The dependencies, gigabytes of them, come from this environment by path, so its .pth files, the editable install's
    among them, are not read.
    """
    venv.create(tmp_path / "environment", with_pip=False)
    (tmp_path / "elsewhere").mkdir()

    def run(home, *arguments):
        path = os.pathsep.join([str(home), sysconfig.get_paths()["purelib"]])
        command = [str(tmp_path / "environment/bin/python"), *arguments]
        environment = os.environ | {"PYTHONPATH": path}
        return subprocess.run(command, cwd=tmp_path / "elsewhere", env=environment, capture_output=True, text=True)

    return run


@pytest.mark.slow
def test_an_installed_wheel_runs_a_sweep(wheel, tiny, tmp_path, call):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    where = call(tmp_path / "site", "-c", "import attnlab; print(attnlab.__file__)")
    assert where.stdout.startswith(str(tmp_path / "site")), where.stderr
    done = call(tmp_path / "site", "-m", "attnlab.run", "-m", *tiny, "attention=none,ise")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished, test error") == 2
    assert "sweep: 2 of 2 done" in done.stdout


def test_a_bare_checkout_on_pythonpath_plans_a_sweep_and_a_table(call):
    for arguments, jobs in (("-m attention=none,ise", 2), ("table=demo seed=0", 5)):
        done = call(ROOT, "-m", "attnlab.run", *arguments.split(), "dry_run=true")
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert f"dry run: {jobs} jobs, {jobs} would run" in done.stdout


def test_composing_a_config_imports_no_torch(call):
    """Although run.yaml names attnlab's launcher and sweeper."""
    code = "import attnlab, sys; attnlab.config(['attention=cbam']); print('torch' in sys.modules)"
    assert call(ROOT, "-c", code).stdout == "False\n"


def test_the_editable_install_is_the_checkout_itself(tmp_path):
    code = "import sys; from hatchling.build import build_editable; print(build_editable(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(tmp_path / done.stdout.splitlines()[-1])
    (paths,) = [name for name in names.namelist() if name.endswith(".pth")]
    assert names.read(paths).decode().split() == [str(ROOT)]


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
