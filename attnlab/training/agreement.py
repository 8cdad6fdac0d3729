"""What the first rank of a run decides, told to those that torchrun or srun started beside it.

All look at one folder, which the first changes meanwhile: none of the others may judge by what it sees. Ranks that
attnlab starts itself come after all that is decided, and decide alike.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attnlab.configuration.secrets import hide
from attnlab.errors import AttnlabError
from attnlab.machine.ranks import by_srun, by_torchrun, is_first, is_further, name
from attnlab.records.atomic import write_text

TRIAL = "ATTNLAB_TRIAL"
PATIENCE = 3600.0  # seconds, with a first rank that has slow files to read
SOON = 3.0
MOMENT = 0.2


def agreed(what: str, decide: Callable[[], Any], output_dir: str) -> Any:
    """decide() of the first rank, plain data. Raises AttnlabError on the others where it failed there."""
    if not (by_torchrun() or by_srun()):
        return decide()
    tell, ask = _by_store(what) if by_torchrun() else _by_file(what, Path(output_dir))
    if not is_first():
        told = json.loads(ask())
        if "error" in told:
            raise AttnlabError(f"the first rank has failed: {told['error']}")
        return told["value"]
    try:
        value = decide()
    except BaseException as error:
        tell(json.dumps({"error": str(error)}))
        raise
    tell(json.dumps({"value": value}))
    return value


def _by_store(what: str) -> tuple[Callable[[str], None], Callable[[], str]]:
    from attnlab.machine.ranks import ranks_store

    store = ranks_store()
    return lambda text: store.set(f"run/{what}", text), lambda: store.get(f"run/{what}").decode()


def _path(what: str, folder: Path) -> Path:
    start = "-".join(os.environ.get(f"SLURM_{key}", "0") for key in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
    return folder / f".{what.replace('/', '-')}-{start}"


def _comes(path: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (there := path.exists()) and time.monotonic() < deadline:
        time.sleep(MOMENT)
    return there


def _by_file(what: str, folder: Path) -> tuple[Callable[[str], None], Callable[[], str]]:
    path = _path(what, folder)

    def ask() -> str:
        if not _comes(path, PATIENCE):
            raise AttnlabError(f"the first rank of this run has said nothing for {PATIENCE / 60:.0f} min ({path})")
        return path.read_text()

    folder.mkdir(parents=True, exist_ok=True)
    return lambda text: write_text(path, text), ask


def tell_why(error: BaseException, output_dir: str) -> None:
    """A rank that srun started and that is not the first has failed: leave the reason where the first one looks.

    What the first one says is what the user sees; this rank's own output is in a log that nobody opens.
    """
    path = _path("why", Path(output_dir))
    asked_to_stop = not isinstance(error, Exception)
    if asked_to_stop or not by_srun() or is_first():
        return
    if not path.exists():  # who comes later has lost the one that came first
        text = str(error) if isinstance(error, AttnlabError) else f"{type(error).__name__}: {error}"
        write_text(path, hide(f"{name()}: {text}"))


def told_why(output_dir: str) -> str:
    """What `tell_why` left, if that is soon; otherwise empty."""
    path = _path("why", Path(output_dir))
    if not (by_srun() and is_first() and _comes(path, SOON)):
        return ""
    text = path.read_text()
    path.unlink()
    return text


@contextmanager
def trial_folder(run: str, output_dir: str) -> Iterator[Path]:
    """One for all ranks, which is gone in the end."""
    if is_further():
        yield Path(os.environ[TRIAL])
        return
    apart = by_torchrun() or by_srun()  # on several machines perhaps, which share output_dir

    def make() -> str:
        if apart:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
        return tempfile.mkdtemp(prefix=".trial-", dir=output_dir if apart else None)

    folder = agreed(f"{run}/trial", make, output_dir)
    os.environ[TRIAL] = folder
    try:
        yield Path(folder)
    finally:
        if is_first():
            shutil.rmtree(folder, ignore_errors=True)
