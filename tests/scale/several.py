"""Commands of several processes for the tests here, and what is left when they have ended."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import warm

from attnlab.records.record import gather

HERE = Path(__file__).parent
SMALL = [
    "model=resnet8", "dataset.train_size=400", "dataset.test_size=101", "recipe.epochs=2", "recipe.batch_size=50",
    "recipe.validation.images=99", "tracker=csv", "machine.accelerator=cpu", "machine.threads=1",
]  # fmt: skip
DDP = [*SMALL, "machine=ddp", "machine.accelerator=cpu", "machine.devices=2"]
RESNET_KEYS = ("depth", "shortcut", "bias", "norm_eps", "norm_momentum")
#: a table's five cells at one seed, digit for digit the same wherever they run
TABLE = [
    "table=demo", "seed=0", *(o for o in SMALL if not o.startswith("model")), "deterministic=true",
    "machine.precision=32-true",
]  # fmt: skip
#: a dataset and a network of ddp_parts.py in place of attnlab's
DIGITS = "dataset._target_=ddp_parts.Digits"
PLAIN = ["model._target_=ddp_parts.Plain", *(f"~model.{key}" for key in RESNET_KEYS)]


def environment(**more):
    """With ddp_parts importable and trusted; no process group's variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "TORCHELASTIC_"))}
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    ours = {"PYTHONPATH": path, "ATTNLAB_TRUST": "ddp_parts", "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    return kept | ours | more


def start(*command, env=None):
    """A command in a session of its own. Its further ranks are Pythons of their own, as torchrun is."""
    cold = command[1:3] != ("-m", "attnlab.run")
    return (warm.start_cold if cold else warm.start)(command, env or environment())


def finish(*command, seconds=240, env=None):
    """(exit status, stdout, stderr); RuntimeError with where each of its processes stood where it does not end."""
    process = start(*command, env=env)
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        for how in (signal.SIGABRT, signal.SIGKILL):  # faulthandler answers the first with tracebacks
            for pid in [*descendants(process.pid), process.pid]:
                with suppress(OSError):
                    os.kill(pid, how)
            time.sleep(1)
        out, err = process.communicate()
        raise RuntimeError(f"hangs: {' '.join(command)}\n{out}\n{err}") from None
    return process.returncode, out, err


def descendants(pid):
    """The processes that a process started, those that they started, and so on; the last first."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found = [pid]
    for one in found:
        found += [child for child, parent in pairs if parent == one]
    return found[:0:-1]


def run(*overrides, **kwargs):
    """python -m attnlab.run."""
    return finish(sys.executable, "-m", "attnlab.run", *overrides, **kwargs)


def refused(*overrides, **more):
    """(exit status, stderr) of a command that trains nothing; `more`: of its environment."""
    done = warm.warm([sys.executable, "-m", "attnlab.run", *overrides], env=environment(**more), timeout=100)
    return done.returncode, done.stderr


def torchrun(*overrides, processes=2, agent=(), **kwargs):
    """torchrun of one agent; `agent`: its own arguments."""
    how = agent or ("--standalone", f"--nproc-per-node={processes}")
    return finish(sys.executable, "-m", "torch.distributed.run", *how, "-m", "attnlab.run", *overrides, **kwargs)


def records(folder):
    """{seed: record} below an output_dir."""
    found = [json.loads(path.read_text()) for path in Path(folder).glob("*/result.json")]
    assert len({record["config"]["seed"] for record in found}) == len(found)
    return {record["config"]["seed"]: record for record in found}


def metrics(folder):
    """{run id: metrics} below an output_dir."""
    found, left_out = gather(folder)
    assert not left_out
    return {record["id"]: record["metrics"] for record in found}


def folders(folder):
    """The runs' folders; what else lies there is the launcher's `.sweep`, and the tables."""
    return [path for path in Path(folder).iterdir() if not path.name.startswith(".") and path.name != "tables"]


def left_behind(folder, seconds=10):
    """Processes whose command line names the folder, or that tests/warm.py started, once they had time to end."""
    deadline = time.monotonic() + seconds
    while True:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                pid, ours = int(path.parent.name), path.with_name("comm").read_text().strip() == warm.name(os.getpid())
                if ours or (str(folder) in path.read_bytes().decode(errors="replace") and pid != os.getpid()):
                    found.append(pid)
            except OSError:
                continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.3)
