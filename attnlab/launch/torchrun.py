"""A sweep under torchrun: every rank has a launcher of its own, and all launchers go through the jobs together.

    torchrun --nproc-per-node 2 -m attnlab.run -m machine=ddp machine.devices=2 attention=none,se

They agree by torchrun's own store: the first rank says which jobs are to run and at which port the processes of each
job meet; a job that fails on one rank is ended on all. Without that each would wait for the others for ever.
"""

import json
import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from attnlab.errors import ConfigError
from attnlab.launch.display import Bars, Lines
from attnlab.launch.job import Job
from attnlab.launch.sweep import GRACE, NOT_INHERITED, Sweep
from attnlab.machine.ranks import GROUP, ranks_store

SLOW = 2.0  # seconds by which the word of a failure may come later than the failure that it caused here


class Silent(Lines):
    """The first rank tells how the sweep goes."""

    def ended(self, job: Job) -> None:
        """Nothing."""


class RanksSweep(Sweep):
    """One rank's part of the sweep."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        if self.n_jobs != 1:
            raise ConfigError(f"n_jobs={self.n_jobs}: allowed under torchrun, whose processes share each job, is 1")
        env = os.environ
        self.first = env["RANK"] == "0"
        self.store = ranks_store()
        self.kill_at = float("inf")

    def prepare(self, job_overrides: Sequence[Sequence[str]]) -> list[Job]:
        """What the first rank has found recorded is so for all."""
        super().prepare(job_overrides)
        if self.first:
            self.store.set("states", json.dumps([(job.id, job.state) for job in self.jobs]))
        told = json.loads(self.store.get("states"))
        if [name for name, _ in told] != [job.id for job in self.jobs]:
            raise ConfigError("torchrun: the ranks were given different commands; allowed is one for all")
        for job, (_, state) in zip(self.jobs, told, strict=True):
            job.state = state
        return [job for job in self.jobs if job.state == "waiting"]

    def list(self) -> None:
        if self.first:
            super().list()

    def summary(self) -> None:
        """By the first rank; the others end after it, as torchrun ends all with the first that fails."""
        if self.first:
            super().summary()
            self.store.set("end", "")
        self.store.wait(["end"])

    def board(self) -> Bars | Lines:
        return super().board() if self.first else Silent(self.jobs, 1)

    def place(self, job: Job) -> AbstractContextManager[Any]:
        """A port of its own, at which the job's processes meet; their ranks are those of the launchers."""
        key = f"{job.number}/port"
        store = ranks_store()  # in the job's process: the launcher goes on asking by the connection that both hold
        if self.first:
            with socket.socket() as free:
                free.bind(("", 0))
                store.set(key, str(free.getsockname()[1]))
        os.environ["MASTER_PORT"] = store.get(key).decode()
        os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"  # the store holds what the job before has left
        for name in set(NOT_INHERITED) - set(GROUP):
            os.environ.pop(name, None)
        return nullcontext()

    def _wait(self, running: dict[int, Job], board: Bars | Lines) -> None:
        super()._wait(running, board)
        for pid, job in running.items():
            if self.kill_at == float("inf") and self._reason(job):
                os.kill(pid, signal.SIGTERM)
                self.kill_at = time.monotonic() + GRACE
            if time.monotonic() > self.kill_at:  # within a collective it hears no SIGTERM
                os.kill(pid, signal.SIGKILL)

    def _ended(self, job: Job, status: int, board: Bars | Lines) -> None:
        self.kill_at = float("inf")
        code = os.waitstatus_to_exitcode(status)
        if code and not self.stopping:
            deadline = time.monotonic() + SLOW
            while not (elsewhere := self._reason(job)) and time.monotonic() < deadline:
                time.sleep(0.1)
            job.elsewhere = elsewhere
        super()._ended(job, status, board)
        if job.state == "failed" and not job.elsewhere:
            self.store.set(f"{job.number}/failed", f"rank {os.environ['RANK']}: {job.reason}")

    def _reason(self, job: Job) -> str:
        """Why the job failed on another rank; empty where it did not."""
        key = f"{job.number}/failed"
        return self.store.get(key).decode() if self.store.check([key]) else ""
