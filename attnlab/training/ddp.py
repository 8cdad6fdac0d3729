"""DDP by Lightning, with an end that says why when one of its processes is lost.

Lightning's observer kills the first rank, with nothing said. Here the first rank tells which one was lost and how, the
others end with it, and the exit status is 1.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from attnlab.machine.processes import INTERRUPTED
from attnlab.machine.ranks import STARTED_BY, Lost, by_srun, by_torchrun, lost, name, on_lost

AGAIN = "the same command goes on from the last checkpoint"
#: what gloo and NCCL say when a process at the other end is gone
OF_PEERS = re.compile("closed by peer|Connection reset|Broken pipe|NCCL|remote process exited", re.IGNORECASE)
LOOK = 0.5  # seconds between two looks at the other ranks
GRACE = 10.0  # seconds for the first rank to end by itself, as gloo makes it; NCCL waits for ever


def ended(code: int) -> str:
    """How a process ended, in words."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


class Ranks(_SubprocessScriptLauncher):
    """Starts the other ranks of this node, and watches them."""

    def launch(self, function: Callable[..., Any], *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            os.environ[STARTED_BY] = str(os.getpid())
            self._call_children_scripts()
            threading.Thread(target=watch, args=(self.procs,), daemon=True).start()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)


def watch(processes: list[subprocess.Popen[Any]]) -> None:
    """Until all have ended well; or one has not: tell, and end the others and this one."""
    while True:
        codes = [process.poll() for process in processes]
        if all(code == 0 for code in codes):
            return
        failed = [(rank, code) for rank, code in enumerate(codes, start=1) if code]
        if failed:
            rank, code = failed[0]
            reason = f"rank {rank} of {len(processes) + 1} {ended(code)}; {AGAIN}"
            lost.append(Lost(reason, code in (INTERRUPTED, -signal.SIGINT)))
            break
        time.sleep(LOOK)
    time.sleep(GRACE)
    for tell in on_lost:
        tell(lost[0].reason)
    print(f"attnlab: {lost[0].reason}", file=sys.stderr, flush=True)
    for process in processes:
        process.kill()
    os._exit(INTERRUPTED if lost[0].asked else 1)


def lost_rank(error: Exception) -> str | None:
    """How another rank was lost, or None; a failed collective is seen before the process that it waited for.

    Raises KeyboardInterrupt where that rank was asked to stop, as this one was.
    """
    if (by_torchrun() or by_srun()) and OF_PEERS.search(str(error)):
        return f"{name()} has lost another rank of the run; why, that rank has told itself, in its own output"
    deadline = time.monotonic() + 4 * LOOK
    while STARTED_BY in os.environ and not lost and time.monotonic() < deadline:
        time.sleep(LOOK / 5)
    if lost and lost[0].asked:
        raise KeyboardInterrupt
    return lost[0].reason if lost else None


class DDP(DDPStrategy):
    """Lightning's, with Ranks for its launcher."""

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = Ranks(self.cluster_environment, self.num_processes, self.num_nodes)
