"""A real Slurm of one node for a test: Debian's slurm-wlm and munge, on ports and in a folder of its own.

So that several can run side by side, as those of several test workers do, each has a munged of its own as well.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

QUIET = subprocess.DEVNULL
CONF = """ClusterName=attnlab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={ctld}
SlurmdPort={d}
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
MpiDefault=none
ReturnToService=2
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=4000
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def missing() -> str:
    """Why no Slurm can be started here; empty when one can."""
    programs = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]
    if programs:
        return f"{', '.join(programs)} not installed (Debian: slurm-wlm munge)"
    return "" if os.getuid() == 0 else "only root can start slurmd"


def _port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _answers(*command: str, seconds: float = 20, **popen) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done = subprocess.run(command, capture_output=True, text=True, **popen)
        if done.returncode == 0 and "down" not in done.stdout and "unk" not in done.stdout:
            return True
        time.sleep(0.3)
    return False


def _naming(folder: Path) -> list[int]:
    """Batch scripts and steps of its jobs that still run."""
    found = subprocess.run(
        ["pgrep", "--full", f"{folder}/spool|srun --unbuffered.*{folder.parent}"], capture_output=True
    )
    return [int(pid) for pid in found.stdout.split()]


@contextmanager
def slurm(folder: Path):
    """The environment in which sbatch and squeue speak to it; RuntimeError with its log when it does not come up."""
    started = []
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True)
    (folder / "munge/key").write_bytes(os.urandom(128))
    (folder / "munge/key").chmod(0o600)
    socket_ = folder / "munge/socket"
    files = [f"--{what}-file={folder / 'munge' / what}" for what in ("key", "log", "pid", "seed")]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=socket.gethostname().split(".")[0], folder=folder, ctld=_port(), d=_port()))
    env = {**os.environ, "SLURM_CONF": str(conf)}
    log = (folder / "log").open("w")
    try:
        # forced: the folders above it are not of the kind that munge likes
        munged = ["munged", "--foreground", "--force", f"--socket={socket_}", *files]
        started.append(subprocess.Popen(munged, stdout=QUIET, stderr=log, start_new_session=True))
        if not _answers("munge", "--no-input", f"--socket={socket_}"):
            raise RuntimeError("munged does not answer")
        for daemon in ("slurmctld", "slurmd"):
            started.append(subprocess.Popen([daemon, "-D"], env=env, stdout=log, stderr=log, start_new_session=True))
        if not _answers("sinfo", "--noheader", "--format=%t", env=env):
            raise RuntimeError(f"Slurm does not answer: {(folder / 'log').read_text()[-2000:]}")
        yield env
    finally:
        subprocess.run(["scancel", "--full", "--user=root"], env=env, capture_output=True, timeout=20, check=False)
        _answers("sh", "-c", 'test -z "$(squeue --noheader)"', env=env)
        for pid in _naming(folder):  # a step that was requeued away has nobody to end it
            os.kill(pid, signal.SIGKILL)
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
        log.close()
