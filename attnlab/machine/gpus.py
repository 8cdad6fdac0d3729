"""The GPUs of this machine, shared among jobs: a job takes one for each of its ranks, and runs_per_gpu jobs share one.

A job takes a place on a GPU by locking a file in a folder of the user's. The system releases the lock when the process
ends, however it ends. All sweeps of the user on this machine share the GPUs in this way.
"""

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from attnlab.errors import AttnlabError, ConfigError
from attnlab.machine import cpu

VISIBLE = "CUDA_VISIBLE_DEVICES"
NAME_SECONDS = 10.0  # that nvidia-smi may take
RETRY_SECONDS = 0.5  # between two attempts to take GPUs


def ids() -> list[str]:
    """The GPUs that this process may use, by their names in CUDA_VISIBLE_DEVICES. CUDA is not initialised."""
    if (visible := os.environ.get(VISIBLE)) is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def jobs_at_a_time(
    n_jobs: Any, runs_per_gpu: Any, accelerator: str = "auto", devices: Any = 1, threads: Any = None
) -> int:
    """The number of jobs that run at a time: n_jobs; null: runs_per_gpu on every GPU, or on a CPU one for each core
    (machine.threads cores, where that is given), as memory permits.

    runs_per_gpu=auto counts as 1; a sweep replaces it by attnlab.machine.sharing.
    Raises ConfigError for a value that is no count, and for n_jobs > 1 when every job takes the same or all GPUs.
    """
    runs_per_gpu = shared_by(runs_per_gpu)
    _check(n_jobs=n_jobs, runs_per_gpu=runs_per_gpu)
    if not isinstance(devices, int):
        if (n_jobs or 1) > 1:
            raise ConfigError(
                f"wrong value n_jobs={n_jobs}; allowed with machine.devices={devices} is 1, since each job takes "
                "those GPUs"
            )
        return 1
    if n_jobs is not None:
        return int(n_jobs)
    there = 0 if accelerator in ("cpu", "mps") else len(ids())
    if not there and accelerator != "mps":
        return cpu.jobs_at_a_time(devices * (threads or 1))
    return max(1, runs_per_gpu * there // devices)


def shared_by(runs_per_gpu: Any) -> Any:
    """runs_per_gpu outside of a sweep of attnlab's launcher, where auto means 1."""
    return 1 if runs_per_gpu in ("auto", None) else runs_per_gpu


def name() -> str | None:
    """The name of the first GPU that this process may use, from nvidia-smi; None without one. CUDA is not initialised,
    so that this process can still be forked."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader", *(["-i", ids()[0]] if ids() else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=NAME_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().split("\n")[0] or None if done.returncode == 0 else None


def _check(**counts: Any) -> None:
    for key, count in counts.items():
        if count is None and key == "n_jobs":
            continue
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            null = ", or null" if key == "n_jobs" else ""
            raise ConfigError(f"wrong value {key}={count}; allowed is an integer from 1{null}")


def wanted(machine: Mapping[str, Any]) -> int:
    """How many GPUs a job has to take: one a rank; 0 on a CPU, and when machine.devices is a list or auto."""
    on_cpu = machine["accelerator"] in ("cpu", "mps") or not ids()
    return 0 if on_cpu or not isinstance(machine["devices"], int) else int(machine["devices"])


def gpu_share(accelerator: str, runs_per_gpu: Any) -> float:
    """The part of a GPU that Ray gives a job: 1 / runs_per_gpu; 0 on a CPU.

    With accelerator=auto the GPUs of this machine decide, which need not be those of Ray's cluster.
    """
    runs_per_gpu = shared_by(runs_per_gpu)
    _check(runs_per_gpu=runs_per_gpu)
    return 1 / runs_per_gpu if accelerator in ("gpu", "cuda") or (accelerator == "auto" and ids()) else 0


def tasks_per_node(devices: Any) -> int:
    """Tasks on each node of a Slurm job: machine.devices. Raises ConfigError where that is no number."""
    if not isinstance(devices, int) or isinstance(devices, bool) or devices < 1:
        raise ConfigError(f"wrong value machine.devices={devices}; allowed with launcher=slurm is an integer from 1")
    return devices


def gpus_per_node(accelerator: str, devices: Any) -> int | None:
    """GPUs that a job requests from Slurm on each node: machine.devices with a GPU as accelerator, else none."""
    return devices if accelerator in ("gpu", "cuda") and isinstance(devices, int) else None


def user_folder() -> Path:
    """The folder of the lock files of this user's jobs. Raises AttnlabError where it belongs to somebody else."""
    folder = Path(tempfile.gettempdir()) / f"attnlab-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise AttnlabError(f"{folder}: belongs to another user; remove it, or set TMPDIR")
    return folder


def _take(name: str, runs_per_gpu: int, stack: ExitStack) -> bool:
    """Lock a free place of the GPU until the stack is closed; False when none is free."""
    for place in range(runs_per_gpu):
        file: TextIOWrapper = (user_folder() / f"{name.replace('/', '-')}.{place}").open("w")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        stack.enter_context(file)
        return True
    return False


@contextmanager
def held(count: int, runs_per_gpu: int) -> Iterator[list[str]]:
    """Wait until `count` GPUs have a free place, take them together and hide the others from CUDA. No effect for 0.

    GPUs with fewer jobs are taken first. Raises ConfigError when this machine has fewer GPUs.
    """
    if not count:
        yield []
        return
    here, printed = ids(), False
    if count > len(here):
        raise ConfigError(f"wrong value machine.devices={count}; allowed on this machine is 1 to {len(here)} GPUs")
    while True:
        with ExitStack() as stack:
            taken: list[str] = []
            for place in range(1, runs_per_gpu + 1):  # an empty GPU before the second place of another
                for name in here:
                    if len(taken) < count and name not in taken and _take(name, place, stack):
                        taken.append(name)
            if len(taken) == count:
                before = os.environ.get(VISIBLE)
                os.environ[VISIBLE] = ",".join(taken)
                try:
                    yield taken
                finally:
                    os.environ.pop(VISIBLE) if before is None else os.environ.update({VISIBLE: before})
                return
        if not printed:
            print(f"all GPUs are taken ({', '.join(here)}, runs_per_gpu={runs_per_gpu}); this job waits", flush=True)
            printed = True
        time.sleep(RETRY_SECONDS)
