"""What the first rank decides for ranks that torchrun or srun started beside it, and the reason why another rank fails.

All ranks share one folder that the first rank changes while the others run, so only the first rank decides. Ranks that
attnlab starts itself start after these decisions and need none of this.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from attnlab.configuration.secrets import hide
from attnlab.errors import AttnlabError
from attnlab.machine.ranks import by_srun, by_torchrun, is_first, is_further, name
from attnlab.records.atomic import write_text

TRIAL_FOLDER = "ATTNLAB_TRIAL"  # environment variable by which further ranks find the trial's folder
DECISION_TIMEOUT = timedelta(hours=1)  # the first rank may have to read slow files
REASON_SECONDS = 3.0  # that the first rank waits for another rank's reason
POLL_SECONDS = 0.2


def decide_on_first_rank(key: str, decide: Callable[[], Any], output_dir: str) -> Any:
    """The result of decide() on the first rank, plain data, on every rank. key: the same on all ranks, used once.

    Raises AttnlabError on the other ranks when decide() has raised on the first.
    """
    if not (by_torchrun() or by_srun()):
        return decide()
    send, receive = _by_store(key) if by_torchrun() else _by_file(key, Path(output_dir))
    if not is_first():
        answer = json.loads(receive())
        if "error" in answer:
            raise AttnlabError(f"the first rank has failed: {answer['error']}")
        return answer["value"]
    try:
        value = decide()
    except BaseException as error:
        send(json.dumps({"error": str(error)}))
        raise
    send(json.dumps({"value": value}))
    return value


def _by_store(key: str) -> tuple[Callable[[str], None], Callable[[], str]]:
    """Send and receive by torchrun's own store, apart from what an earlier attempt of --max-restarts left there."""
    from torch.distributed import PrefixStore, TCPStore

    env = os.environ
    server = TCPStore(env["MASTER_ADDR"], int(env["MASTER_PORT"]), is_master=False, timeout=DECISION_TIMEOUT)
    store = PrefixStore(f"attnlab/{env.get('TORCHELASTIC_RESTART_COUNT', 0)}", server)
    return lambda text: store.set(key, text), lambda: store.get(key).decode()


def _by_file(key: str, folder: Path) -> tuple[Callable[[str], None], Callable[[], str]]:
    """Send and receive by a file in the folder, which srun's ranks share."""
    path = _path(key, folder)

    def receive() -> str:
        if not _appears(path, DECISION_TIMEOUT.total_seconds()):
            minutes = DECISION_TIMEOUT.total_seconds() / 60
            raise AttnlabError(f"the first rank of this run has decided nothing for {minutes:.0f} min ({path})")
        return path.read_text()

    folder.mkdir(parents=True, exist_ok=True)
    return lambda text: write_text(path, text), receive


def _path(key: str, folder: Path) -> Path:
    """A file of this start of this Slurm step."""
    start = "-".join(os.environ.get(f"SLURM_{name}", "0") for name in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
    return folder / f".{key.replace('/', '-')}-{start}"


def _appears(path: Path, seconds: float) -> bool:
    """Wait until the file exists; False when it does not within that time."""
    deadline = time.monotonic() + seconds
    while not (exists := path.exists()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return exists


def leave_reason(error: BaseException, output_dir: str) -> None:
    """Write the failure of a rank that srun started to a file, for the first rank to print.

    The user sees the output of the first rank only. Nothing on the first rank, and for an interrupt.
    """
    path = _path("why", Path(output_dir))
    interrupted = not isinstance(error, Exception)
    if interrupted or not by_srun() or is_first():
        return
    if not path.exists():  # a later rank fails because the earlier one is lost
        text = str(error) if isinstance(error, AttnlabError) else f"{type(error).__name__}: {error}"
        write_text(path, hide(f"{name()}: {text}"))


def read_reason(output_dir: str) -> str:
    """On the first rank: the reason that another rank has left within REASON_SECONDS; empty when there is none."""
    path = _path("why", Path(output_dir))
    if not (by_srun() and is_first() and _appears(path, REASON_SECONDS)):
        return ""
    text = path.read_text()
    path.unlink()
    return text


@contextmanager
def trial_folder(run: str, output_dir: str) -> Iterator[Path]:
    """A temporary folder that all ranks of a trial share, removed at the end."""
    if is_further():
        yield Path(os.environ[TRIAL_FOLDER])
        return
    several_hosts = by_torchrun() or by_srun()  # perhaps; they share output_dir

    def make() -> str:
        if several_hosts:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
        return tempfile.mkdtemp(prefix=".trial-", dir=output_dir if several_hosts else None)

    folder = decide_on_first_rank(f"{run}/trial", make, output_dir)
    os.environ[TRIAL_FOLDER] = folder
    try:
        yield Path(folder)
    finally:
        if is_first():
            shutil.rmtree(folder, ignore_errors=True)
