"""Sweeps: one process a job, forked from a warm launcher that has imported torch and computed nothing.

Nothing leaks from job to job; one failure is one failure; start-up is paid once. A job dies with its launcher.
"""

import copy
import ctypes
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from attnlab.compose import check
from attnlab.errors import ConfigError
from attnlab.identity import run_id
from attnlab.results import read_record

PR_SET_PDEATHSIG = 1  # linux/prctl.h
#: what one job must not hand to the next, or a shell to a job: ranks and addresses of a process group, a W&B run
NOT_INHERITED = (
    "LOCAL_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "PL_GLOBAL_SEED",
    "WANDB_RUN_ID",
)
INTERRUPTED = 130  # exit status of a job that was asked to stop
GRACE = 20.0  # seconds that a job has to end after SIGTERM

#: messages of the jobs that failed in this process's sweeps
failures: list[str] = []


@dataclass
class Job:
    """One job of a sweep; `state` is waiting, recorded, double (of another), running, done or failed."""

    number: int
    overrides: list[str]
    config: DictConfig
    id: str
    state: str = "waiting"
    value: float | None = None
    pid: int = 0
    pipe: int = -1
    started: float = 0.0
    seconds: float = 0.0

    @property
    def title(self) -> str:
        return f"#{self.number} {self.id} {' '.join(filter_overrides(self.overrides))}"


class Sweep:
    """Runs the jobs of one sweep, `n_jobs` at a time. Only Linux ends jobs with their launcher."""

    def __init__(self, context: HydraContext, task: TaskFunction, config: DictConfig, n_jobs: int) -> None:
        if not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or n_jobs < 1:
            raise ConfigError(f"n_jobs={n_jobs}: allowed is an integer from 1")
        self.context, self.task, self.config, self.n_jobs = context, task, config, n_jobs
        self.jobs: list[Job] = []

    def launch(self, job_overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
        """Compose and check every job before the first one starts, then run what is not recorded."""
        setup_globals()
        self.jobs = [self._compose(number, list(overrides)) for number, overrides in enumerate(job_overrides)]
        seen: set[str] = set()
        for job in self.jobs:
            if job.id in seen:
                job.state = "double"
            elif self._is_recorded(job):
                job.state = "recorded"
                print(f"{job.id}: found recorded, not run again (force=true would)", flush=True)
            seen.add(job.id)
        if self.config.dry_run:
            self._list()
        else:
            self._run()
        return [self._returned(job) for job in self.jobs]

    def _compose(self, number: int, overrides: list[str]) -> Job:
        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
        return Job(number, overrides, config, run_id(check(_without_hydra(config))))

    def _is_recorded(self, job: Job) -> bool:
        return not job.config.force and read_record(Path(job.config.output_dir) / job.id) is not None

    def _list(self) -> None:
        for job in self.jobs:
            print(f"{'would run' if job.state == 'waiting' else job.state:10}{job.title}")
        waiting = sum(job.state == "waiting" for job in self.jobs)
        print(f"dry run: {len(self.jobs)} jobs, {waiting} would run")

    def _run(self) -> None:
        waiting = [job for job in self.jobs if job.state == "waiting"]
        running: dict[int, Job] = {}
        if waiting:
            import attnlab.training  # noqa: F401  warm: every job inherits torch and lightning, imported once
        previous = signal.signal(signal.SIGTERM, _raise_interrupt)
        try:
            while waiting or running:
                while waiting and len(running) < self.n_jobs:
                    job = waiting.pop(0)
                    self._fork(job)
                    running[job.pid] = job
                pid, status = os.wait()
                if pid in running:
                    self._ended(running.pop(pid), status)
        except KeyboardInterrupt:
            self._stop(running)
            raise
        finally:
            signal.signal(signal.SIGTERM, previous)
            self._summary()

    def _fork(self, job: Job) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        reader, writer = os.pipe()
        launcher = os.getpid()
        job.started, job.state = time.monotonic(), "running"
        job.pid = os.fork()
        if job.pid:
            os.close(writer)
            job.pipe = reader
            return
        code = 1
        try:
            os.close(reader)
            _die_with(launcher)
            value = self._work(job)
            os.write(writer, json.dumps({"value": value}).encode())
            code = 0 if not failures else 1
            if failures:
                os.write(writer, b"\n" + json.dumps({"error": failures[-1]}).encode())
        except KeyboardInterrupt:
            code = INTERRUPTED
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _work(self, job: Job) -> Any:
        """In the job's own process."""
        signal.signal(signal.SIGTERM, _raise_interrupt)
        failures.clear()
        for name in NOT_INHERITED:
            os.environ.pop(name, None)
        # Lightning's DDP starts further ranks by repeating sys.argv: it must name this job, not the sweep.
        sys.argv = [sys.argv[0], *job.overrides]
        with open_dict(job.config):
            job.config.hydra.mode = "RUN"
            if self.n_jobs > 1 and job.config.machine.threads is None:
                # Thread pools of several jobs on the same cores ruin each other; each gets its share.
                job.config.machine.threads = max(1, len(os.sched_getaffinity(0)) // self.n_jobs)
        HydraConfig.instance().set_config(job.config)
        return self.task(_without_hydra(job.config))

    def _ended(self, job: Job, status: int) -> None:
        job.seconds = time.monotonic() - job.started
        with os.fdopen(job.pipe) as pipe:
            told = [json.loads(line) for line in pipe.read().splitlines() if line]
        answers = {name: value for line in told for name, value in line.items()}
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            job.state, job.value = "done", answers.get("value")
        elif code == INTERRUPTED:
            job.state = "waiting"
        else:
            job.state = "failed"
            reason = answers.get("error") or (f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit {code}")
            failures.append(f"{job.title}: {reason}")
            if "error" not in answers:  # the job could not tell it itself
                print(f"attnlab: {job.title}: {reason}", file=sys.stderr, flush=True)
        if job.state != "waiting":
            self._progress()

    def _progress(self) -> None:
        count = Counter(job.state for job in self.jobs)
        left = sum(job.state in ("waiting", "running") for job in self.jobs)
        spent = [job.seconds for job in self.jobs if job.state == "done"]
        done = count["done"] + count["recorded"] + count["double"]
        text = f"sweep: {done} of {len(self.jobs)} done, {count['failed']} failed, {left} to go"
        if left and spent:
            end = datetime.now() + timedelta(seconds=left * sum(spent) / len(spent) / self.n_jobs)
            text += f", ends about {end:%H:%M:%S}"
        print(text, flush=True)

    def _stop(self, running: dict[int, Job]) -> None:
        for pid in running:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while running and time.monotonic() < deadline:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in running:
                self._ended(running.pop(pid), status)
            elif not pid:
                time.sleep(0.05)
        for pid, job in list(running.items()):
            os.kill(pid, signal.SIGKILL)
            self._ended(job, os.waitpid(pid, 0)[1])

    def _summary(self) -> None:
        waiting = sum(job.state == "waiting" for job in self.jobs)
        if failures or waiting:
            print(
                f"attnlab: {len(failures)} failed, {waiting} not finished; the same command runs them", file=sys.stderr
            )
            print(*(f"  {failure}" for failure in failures), sep="\n", file=sys.stderr, flush=True)

    def _returned(self, job: Job) -> JobReturn:
        # Failures are told by attnlab.run; a FAILED return would make Hydra raise the first and hide the others.
        return JobReturn(
            overrides=job.overrides, cfg=job.config, working_dir=os.getcwd(), task_name="run",
            status=JobStatus.COMPLETED, _return_value=job.value,
        )  # fmt: skip


def _without_hydra(config: DictConfig) -> DictConfig:
    """The job's own config, as `@hydra.main` hands it to its function."""
    own = copy.deepcopy(config)
    with open_dict(own):
        del own["hydra"]
    return own


def _die_with(launcher: int) -> None:
    """Ask Linux to kill this process when its launcher ends, however it ends."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return
    if os.getppid() != launcher:  # it ended before the kernel was asked
        os._exit(1)


def _raise_interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
