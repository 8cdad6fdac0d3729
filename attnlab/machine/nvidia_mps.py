"""NVIDIA MPS: the kernels of several processes run on a GPU at the same time, not in turns.

A launcher starts a control daemon of its own and stops it. The daemon's pipes and logs are in a folder of its own, so
no other daemon is touched, and the GPU's compute mode stays as it is. Clients find the daemon by PIPES in their
environment. Source: docs.nvidia.com/deploy/mps.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
FOLDERS = "attnlab-mps"  # prefix of the folders: attnlab-mps-<user id>-<process id of the launcher>-<random letters>
SECONDS = 20.0  # that an answer of the daemon may take


def is_installed() -> bool:
    """Whether the program that starts MPS is on PATH."""
    return shutil.which(CONTROL) is not None


@contextmanager
def side_by_side() -> Iterator[bool]:
    """Run MPS while the context is open, for processes that are started in it; yields whether it runs.

    A daemon that the environment already names is used as it is, and not stopped. Where MPS cannot start, one line is
    printed that says why, and processes share the GPU without it. Must be opened before CUDA is initialised.
    """
    if os.environ.get(PIPES):
        yield True
        return
    _stop_forgotten()
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDERS}-{os.getuid()}-{os.getpid()}-"))
    try:
        reason = _start(folder)
        if reason:
            print(f"NVIDIA MPS did not start: {reason}; runs share the GPU in turns", flush=True)
            yield False
            return
        os.environ[PIPES], os.environ[LOGS] = str(folder), str(folder)
        try:
            yield True
        finally:
            del os.environ[PIPES], os.environ[LOGS]
            _control(folder, "quit")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> str:
    """Start a daemon whose pipes are in `folder`; why that failed, empty where it did not."""
    reason = _control(folder, None)
    return reason or _control(folder, "get_server_list")  # does it answer?


def _control(folder: Path, command: str | None) -> str:
    """Send a command to the daemon of a folder; None starts it. Returns the reason of a failure, else nothing."""
    arguments = [CONTROL, *(["-d"] if command is None else [])]
    environment = os.environ | {PIPES: str(folder), LOGS: str(folder)}
    # Files, not pipes: the daemon inherits them, and would keep a pipe open.
    with (folder / "output").open("w+") as output:
        try:
            done = subprocess.run(
                arguments, env=environment, input=f"{command}\n" if command else "", text=True,
                stdout=output, stderr=output, timeout=SECONDS,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{CONTROL}: {error}"
        output.seek(0)
        last = (output.read().strip() or f"{CONTROL} ended with status {done.returncode}").split("\n")[-1]
    return last if done.returncode else ""


def _stop_forgotten() -> None:
    """Stop daemons of this user whose launchers were killed, and remove their folders."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}-{os.getuid()}-*"):
        with suppress(OSError, ValueError, IndexError):
            launcher = int(folder.name.split("-")[3])
            if folder.stat().st_uid == os.getuid() and not _is_alive(launcher):
                _control(folder, "quit")
                shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
