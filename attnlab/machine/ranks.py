"""The processes of one run: which of them this is, who started it, and whether they are as many as the config says.

torchrun and srun start all of them; otherwise the first one starts the others (attnlab.training.ddp), one a device.
"""

import os
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from attnlab.errors import ConfigError


class Lost(NamedTuple):
    """Another rank that has ended: why, and whether it was asked to."""

    reason: str
    asked: bool


PATIENCE = timedelta(hours=1)  # to wait for another rank of a sweep under torchrun
AGENT_PORT = "ATTNLAB_AGENT_PORT"
#: set by a first rank for those it starts: its process id
STARTED_BY = "ATTNLAB_FIRST_RANK"
#: what belongs to one group of processes: a job, or a shell's command, must not take it for its own
GROUP = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", STARTED_BY)

#: in a first rank: how others ended, where not well; and what is told of it, should this process not end by itself
lost: list["Lost"] = []
on_lost: list[Callable[[str], None]] = []


def by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def by_srun() -> bool:
    """Whether srun started this process as one of several; an interactive step of salloc is one of one."""
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS") or os.environ.get("SLURM_NTASKS", "1")
    return "SLURM_STEP_ID" in os.environ and tasks != "1"


def is_first() -> bool:
    """Whether this is the run's first process, which alone writes and speaks."""
    if by_torchrun():
        return os.environ["RANK"] == "0"
    if by_srun():
        return os.environ["SLURM_PROCID"] == "0"
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def is_further() -> bool:
    """Whether a first rank of attnlab's started this process, to be another rank of its run."""
    return os.environ.get(STARTED_BY) == str(os.getppid())


def name() -> str:
    """`rank 1`, for messages."""
    numbers = (os.environ.get(key) for key in ("RANK", "SLURM_PROCID" if by_srun() else "LOCAL_RANK"))
    return f"rank {next(filter(None, numbers), '0')}"


def alone() -> None:
    """In a batch script of one task, forget Slurm's task count: Lightning would wait for an srun that nobody gave."""
    if not by_srun():
        os.environ.pop("SLURM_NTASKS", None)


def check(machine: Mapping[str, Any], ranks: int) -> None:
    """ranks: processes a node. Raises ConfigError where there are other processes than the config asks for."""
    import torch.distributed

    devices, nodes = machine["devices"], machine.get("nodes") or 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise ConfigError(
            f"machine.devices={devices}: a process group of an earlier run is still there, with which this one would "
            "train on a part of the data; a run on several devices needs a Python process of its own"
        )
    for who, here, count in (("torchrun", by_torchrun(), "WORLD_SIZE"), ("srun", by_srun(), "SLURM_NTASKS")):
        if here:
            world = int(os.environ[count])
            if world != ranks * nodes:
                raise ConfigError(
                    f"machine.devices={devices} with machine.nodes={nodes}: {who} started {world} processes in all; "
                    "allowed are as many devices a node, times nodes"
                )
            return
    if ranks > 1 and not is_further() and sys.argv[0] in ("", "-", "-c"):
        raise ConfigError(
            f"machine.devices={devices}: further ranks repeat the command, and this Python was given none; allowed are "
            "python -m attnlab.run, and a script (all of which every rank runs)"
        )
    if nodes > 1 and "NODE_RANK" not in os.environ:
        raise ConfigError(
            f"machine.nodes={nodes}: this run would wait for the other machines for ever, on which nobody starts it; "
            "allowed is 1, or under torchrun --nnodes and launcher=slurm, which do, their number"
        )
    if "LOCAL_RANK" in os.environ and not is_further():
        raise ConfigError(
            f"LOCAL_RANK={os.environ['LOCAL_RANK']} is set in the environment, by neither torchrun nor srun: "
            "this would be another rank of a run that is not there; unset LOCAL_RANK NODE_RANK WORLD_SIZE"
        )


def ranks_store() -> Any:
    """torchrun's own, what an earlier attempt of --max-restarts has left in it apart."""
    from torch.distributed import PrefixStore, TCPStore

    env = os.environ
    port = int(env.setdefault(AGENT_PORT, env["MASTER_PORT"]))  # a job of a sweep has another MASTER_PORT
    store = TCPStore(env["MASTER_ADDR"], port, is_master=False, timeout=PATIENCE)
    return PrefixStore(f"attnlab/{env.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
