"""Lightning's DDP with a watch over the ranks, so that a run whose rank is lost ends with the reason.

Lightning's own observer kills the first rank without a message. Here the first rank prints which rank was lost and how,
ends the other ranks, and exits with status 1.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from attnlab.machine.processes import INTERRUPTED
from attnlab.machine.ranks import STARTED_BY, by_srun, by_torchrun, name

RESUMES = "the same command goes on from the last checkpoint"
#: what gloo and NCCL report when the process at the other end has ended
LOST_PEER = re.compile("closed by peer|Connection reset|Broken pipe|NCCL|remote process exited", re.IGNORECASE)
POLL_SECONDS = 0.5
EXIT_SECONDS = 10.0  # that the first rank has to fail by itself, as gloo makes it; NCCL would wait for ever


class Lost(NamedTuple):
    """A rank that has ended early: the reason, and whether it was interrupted."""

    reason: str
    interrupted: bool


class RankWatch:
    """Watches the ranks that this first rank has started.

    on_lost: called with the reason before this process is killed, because it does not end by itself; None is skipped.
    """

    def __init__(self, *on_lost: Callable[[str], None] | None) -> None:
        self.on_lost = [callback for callback in on_lost if callback is not None]
        self.lost: Lost | None = None

    def start(self, processes: list["subprocess.Popen[Any]"]) -> None:
        """Watch the processes in a thread; when one fails, end the others, and this one if it has not ended yet."""
        threading.Thread(target=self._watch, args=(processes,), daemon=True).start()

    def _watch(self, processes: list["subprocess.Popen[Any]"]) -> None:
        while self.lost is None:
            codes = [process.poll() for process in processes]
            if all(code == 0 for code in codes):
                return
            if failed := [(rank, code) for rank, code in enumerate(codes, start=1) if code]:
                rank, code = failed[0]
                reason = f"rank {rank} of {len(processes) + 1} {_how_it_ended(code)}; {RESUMES}"
                self.lost = Lost(reason, code in (INTERRUPTED, -signal.SIGINT))
            else:
                time.sleep(POLL_SECONDS)
        time.sleep(EXIT_SECONDS)
        for callback in self.on_lost:
            callback(self.lost.reason)
        print(f"attnlab: {self.lost.reason}", file=sys.stderr, flush=True)
        for process in processes:
            process.kill()
        os._exit(INTERRUPTED if self.lost.interrupted else 1)

    def reason(self, error: Exception) -> str | None:
        """Why another rank was lost, where that has caused `error`, else None.

        A failed collective may come before the end of the process that it waited for, so this waits a moment.
        Raises KeyboardInterrupt when that rank was interrupted, as this one was.
        """
        if (by_torchrun() or by_srun()) and LOST_PEER.search(str(error)):
            return f"{name()} has lost another rank of the run, which has printed the reason in its own output"
        deadline = time.monotonic() + 4 * POLL_SECONDS
        while STARTED_BY in os.environ and self.lost is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 5)
        if self.lost is None:
            return None
        if self.lost.interrupted:
            raise KeyboardInterrupt
        return self.lost.reason


def _how_it_ended(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


class RankLauncher(_SubprocessScriptLauncher):
    """Starts the other ranks of this node, as Lightning's launcher does, and has them watched."""

    def __init__(self, rank_watch: RankWatch, *args: Any) -> None:
        super().__init__(*args)
        self.rank_watch = rank_watch

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            os.environ[STARTED_BY] = str(os.getpid())
            self._call_children_scripts()
            self.rank_watch.start(self.procs)
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)


class DDP(DDPStrategy):
    """Lightning's DDPStrategy with RankLauncher as its launcher."""

    def __init__(self, rank_watch: RankWatch) -> None:
        super().__init__()
        self.rank_watch = rank_watch

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = RankLauncher(self.rank_watch, self.cluster_environment, self.num_processes, self.num_nodes)
