"""The ranks of a run, its processes: which rank this is, what started it, and whether the config asks for as many.

torchrun and srun start all ranks. Otherwise the first rank starts the others (attnlab.training.ddp), one a device.
"""

import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from attnlab.errors import ConfigError

#: set by a first rank for those it starts: its process id
STARTED_BY = "ATTNLAB_FIRST_RANK"
#: environment variables that describe one group of processes; a job of a sweep must not inherit them
PROCESS_GROUP = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", STARTED_BY)


def by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def by_srun() -> bool:
    """Whether srun started this process as one of several. An interactive step of salloc is a single task."""
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS") or os.environ.get("SLURM_NTASKS", "1")
    return "SLURM_STEP_ID" in os.environ and tasks != "1"


def is_first() -> bool:
    """Whether this is the run's first rank. Only the first rank prints and writes files."""
    if by_torchrun():
        return os.environ["RANK"] == "0"
    if by_srun():
        return os.environ["SLURM_PROCID"] == "0"
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def is_further() -> bool:
    """Whether a first rank of attnlab started this process as another rank of its run."""
    return os.environ.get(STARTED_BY) == str(os.getppid())


def name() -> str:
    """`rank 1`, for messages."""
    numbers = (os.environ.get(key) for key in ("RANK", "SLURM_PROCID" if by_srun() else "LOCAL_RANK"))
    return f"rank {next(filter(None, numbers), '0')}"


def let_first_print(seconds: float = 20) -> None:
    """A later rank that fails waits here: torchrun stops all ranks once one has ended, and only the first prints."""
    if by_torchrun():
        time.sleep(seconds)


def forget_batch_script() -> None:
    """Remove Slurm's task count in a batch script without srun, where Lightning would wait for the other tasks."""
    if not by_srun():
        os.environ.pop("SLURM_NTASKS", None)


def refuse_sweep() -> None:
    """Raise ConfigError under torchrun or srun, each of whose processes would run the whole sweep."""
    for program, here in (("torchrun", by_torchrun()), ("srun", by_srun())):
        if here:
            raise ConfigError(
                f"{program} starts the processes of single runs, not of a sweep or a table; allowed without {program} "
                "are machine=ddp, for several devices a job, and launcher=slurm"
            )


def check(machine: Mapping[str, Any], ranks: int) -> None:
    """Raise ConfigError when the run's processes are not those that the config asks for. ranks: processes a node."""
    import torch.distributed

    devices, nodes = machine["devices"], machine.get("nodes") or 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise ConfigError(
            f"machine.devices={devices}: this Python process still has the process group of an earlier run and would "
            "train on a part of the data; start a run on several devices in a new Python process"
        )
    for program, here, count in (("torchrun", by_torchrun(), "WORLD_SIZE"), ("srun", by_srun(), "SLURM_NTASKS")):
        if here:
            world = int(os.environ[count])
            if world != ranks * nodes:
                raise ConfigError(
                    f"machine.devices={devices} with machine.nodes={nodes}: {program} started {world} processes in "
                    f"all; allowed are as many as devices times nodes, {ranks * nodes}"
                )
            return
    if ranks > 1 and not is_further() and sys.argv[0] in ("", "-", "-c"):
        raise ConfigError(
            f"machine.devices={devices}: further ranks repeat the command line, and this Python process has none; "
            "allowed are python -m attnlab.run, and a script file (which every rank runs from its beginning)"
        )
    if nodes > 1 and "NODE_RANK" not in os.environ:
        raise ConfigError(
            f"machine.nodes={nodes}: nothing starts this run on the other machines, so it would wait for ever; allowed "
            "is 1, or the number of nodes under torchrun --nnodes or launcher=slurm"
        )
    if "LOCAL_RANK" in os.environ and not is_further():
        raise ConfigError(
            f"LOCAL_RANK={os.environ['LOCAL_RANK']} is set in the environment, but neither torchrun nor srun started "
            "this process, so it would wait for ranks that do not exist; unset LOCAL_RANK NODE_RANK WORLD_SIZE"
        )
