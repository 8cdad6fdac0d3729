"""Sweeps: one process a job, forked from a warm launcher that has imported torch and computed nothing.

Nothing leaks from job to job; one failure is one failure; start-up is paid once. A job dies with its launcher.
"""

import copy
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from attnlab.configuration.compose import check
from attnlab.configuration.identity import run_id
from attnlab.configuration.sweep_arguments import Composed, compose_jobs, left_out
from attnlab.errors import ConfigError
from attnlab.launch.display import Bars, Lines
from attnlab.launch.job import Job
from attnlab.machine import gpus, ranks
from attnlab.machine.processes import raise_interrupt
from attnlab.machine.ranks import GROUP
from attnlab.records.provenance import doubts, found_recorded, read_made_by, ways_on
from attnlab.records.record import is_recorded, read_record
from attnlab.records.source_code import import_all

#: what one job must not hand to the next, or a shell to a job
NOT_INHERITED = (*GROUP, "PL_GLOBAL_SEED", "WANDB_RUN_ID")
GRACE = 20.0  # seconds that a job has to end after SIGTERM
MOMENT = 0.1  # seconds between two looks at jobs that tell nothing

#: messages of the jobs that failed in this process's sweeps
failures: list[str] = []


class Sweep:
    """Runs the jobs of one sweep, `n_jobs` at a time. Only Linux ends jobs with their launcher."""

    def __init__(self, context: HydraContext, task: TaskFunction, config: DictConfig, n_jobs: int | None) -> None:
        if n_jobs is not None and (not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or n_jobs < 1):
            raise ConfigError(f"n_jobs={n_jobs}: allowed is an integer from 1, or null")
        self.context, self.task, self.config = context, task, config
        machine = config.machine
        self.n_jobs = gpus.jobs_at_a_time(n_jobs, config.runs_per_gpu, machine.accelerator, machine.devices)
        self.jobs: list[Job] = []
        self.other_code: list[str] = []
        self.stopping = False

    def launch(self, job_overrides: Sequence[Sequence[str]]) -> Sequence[JobReturn]:
        """Compose and check every job before the first one starts, then run what is not recorded."""
        self.prepare(job_overrides)
        if self.config.dry_run:
            self.list()
        else:
            self._run()
        return self.returned()

    def prepare(self, job_overrides: Sequence[Sequence[str]]) -> list[Job]:
        """Compose and check every job; those that are to run. What is recorded is told."""
        setup_globals()
        composed = compose_jobs(self._load, job_overrides)
        self.jobs = [self._job(number, job) for number, job in enumerate(composed)]
        if ranks.is_first() and (line := left_out(composed)):
            print(line, flush=True)
        common = set.intersection(*(set(job.overrides) for job in self.jobs)) if len(self.jobs) > 1 else set()
        for job in self.jobs:
            job.differs = [o for o in filter_overrides(job.overrides) if o not in common]
        seen: dict[str, int] = {}
        for job in self.jobs:
            if job.id in seen:
                job.state = "double"
                if ranks.is_first() and not self.config.dry_run:
                    print(f"{job.title}: the same run as #{seen[job.id]}, trained once", flush=True)
            elif self._is_recorded(job):
                job.state = "recorded" if self._stands(job) else "other code"
                if job.state == "recorded" and ranks.is_first():
                    print(f"{job.id}: {found_recorded(job.values)}", flush=True)
            seen.setdefault(job.id, job.number)
        self._tell_other_code()
        return [job for job in self.jobs if job.state == "waiting"]

    def _load(self, overrides: list[str]) -> DictConfig:
        return self.context.config_loader.load_sweep_config(self.config, overrides)

    def _job(self, number: int, composed: Composed) -> Job:
        config = composed.config
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
        values = check(_without_hydra(config))
        read_made_by(values)  # now, and imported before the first job is forked: later edits are noticed, not run
        return Job(number, composed.overrides, config, run_id(values), values)

    def _is_recorded(self, job: Job) -> bool:
        return not job.config.force and is_recorded(Path(job.config.output_dir) / job.id)

    def _stands(self, job: Job) -> bool:
        """Whether a recorded job is what its config gives today, or code=recorded accepts it."""
        if job.config.code == "recorded":
            return True
        folder = Path(job.config.output_dir)
        job.doubts = doubts(read_record(folder / job.id) or {}, folder)
        return not job.doubts

    def _tell_other_code(self) -> None:
        """A failure a reason: such runs are neither done nor overwritten."""
        counted = Counter(doubt for job in self.jobs for doubt in job.doubts)
        self.other_code = [f"{n} run{'s are' if n > 1 else ' is'} {ways_on([doubt])}" for doubt, n in counted.items()]
        failures.extend(self.other_code)
        if ranks.is_first():
            for line in self.other_code:
                print(f"attnlab: {line}", file=sys.stderr, flush=True)

    def list(self) -> None:
        """Print what would run."""
        for job in self.jobs:
            print(f"{'would run' if job.state == 'waiting' else job.state:9} {job.title}")
        waiting = sum(job.state == "waiting" for job in self.jobs)
        print(f"dry run: {len(self.jobs)} jobs, {waiting} would run")

    def _run(self) -> None:
        waiting = [job for job in self.jobs if job.state == "waiting"]
        if waiting:
            import attnlab.training.train  # noqa: F401  warm: every job inherits torch and lightning, imported once
        for job in waiting:
            import_all(job.values)
        board = self.board()
        previous = signal.signal(signal.SIGTERM, raise_interrupt)
        running: dict[int, Job] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.n_jobs:
                    job = waiting.pop(0)
                    job.fork(self._work, failures, watched=board.watches)
                    running[job.pid] = job
                self._wait(running, board)
        except KeyboardInterrupt:
            self._stop(running, board)
            raise
        finally:
            signal.signal(signal.SIGTERM, previous)
            try:
                board.close()
            finally:
                self.summary()

    def board(self) -> Bars | Lines:
        """Where the sweep is seen."""
        return Bars(self.jobs, self.n_jobs) if sys.stdout.isatty() else Lines(self.jobs, self.n_jobs)

    def place(self, job: Job) -> AbstractContextManager[Any]:
        """What a job has of this machine, asked in its own process: no ranks of another one, GPUs of its own."""
        for name in NOT_INHERITED:
            os.environ.pop(name, None)
        return gpus.held(gpus.wanted(job.config.machine), job.config.runs_per_gpu)

    def _wait(self, running: dict[int, Job], board: Bars | Lines) -> None:
        """Until a job tells something, prints, or ends; a moment at most."""
        pipes = [pipe for job in running.values() for pipe in (job.words, job.output) if pipe and pipe.open]
        ending = any(job.words and not job.words.open for job in running.values())
        select.select([pipe.reader for pipe in pipes], [], [], 0.005 if ending else MOMENT)
        board.show([line for job in running.values() for line in job.listen()])
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid in running:
                self._ended(running.pop(pid), status, board)

    def _work(self, job: Job) -> Any:
        """In the job's own process."""
        from attnlab.machine.hardware import cores

        signal.signal(signal.SIGTERM, raise_interrupt)
        failures.clear()
        # Lightning's DDP starts further ranks by repeating sys.argv: it must name this job, not the sweep.
        sys.argv = [sys.argv[0], *job.overrides]
        with open_dict(job.config):
            job.config.hydra.mode = "RUN"
            job.config.n_jobs = self.n_jobs  # the record says what shared the machine
            devices = job.config.machine.devices if isinstance(job.config.machine.devices, int) else 1
            for key in ("threads", "workers") if self.n_jobs > 1 else ():
                if job.config.machine[key] is None:  # each job gets its share of the cores
                    job.config.machine[key] = max(1, cores() // (self.n_jobs * max(1, devices)))
                    sys.argv.append(f"machine.{key}={job.config.machine[key]}")
        HydraConfig.instance().set_config(job.config)
        with self.place(job):
            return self.task(_without_hydra(job.config))

    def _ended(self, job: Job, status: int, board: Bars | Lines) -> None:
        board.show(job.end(status, stopping=self.stopping))
        if job.state == "failed":
            failures.append(f"{job.title}: {job.reason}")
            if not job.told:
                print(f"attnlab: {job.title}: {job.reason}", file=sys.stderr, flush=True)
        if job.state != "waiting":
            board.ended(job)

    def _stop(self, running: dict[int, Job], board: Bars | Lines) -> None:
        self.stopping = True
        for pid in running:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while running and time.monotonic() < deadline:
            self._wait(running, board)
        for pid, job in list(running.items()):
            os.kill(pid, signal.SIGKILL)
            self._ended(job, os.waitpid(pid, 0)[1], board)

    def summary(self) -> None:
        """Tell what failed and what is left, where there is any."""
        for job in self.jobs:  # what another launcher has trained since is no failure
            line = f"{job.title}: {job.reason}"
            if job.state == "failed" and line in failures and self._is_recorded(job):
                failures.remove(line)
                job.state = "recorded"
        left = sum(job.state in ("waiting", "running") for job in self.jobs)
        failed = [failure for failure in failures if failure not in self.other_code]
        if failed or left:
            summary = f"attnlab: {len(failed)} failed, {left} not finished; the same command runs them"
            print(summary, *(f"  {failure}" for failure in failed), sep="\n", file=sys.stderr, flush=True)

    def returned(self) -> Sequence[JobReturn]:
        """What Hydra wants to know of each job."""
        # Failures are told by attnlab.run; a FAILED return would make Hydra raise the first and hide the others.
        return [
            JobReturn(
                overrides=job.overrides, cfg=job.config, working_dir=os.getcwd(), task_name="run",
                status=JobStatus.COMPLETED, _return_value=job.value,
            )
            for job in self.jobs
        ]  # fmt: skip


def _without_hydra(config: DictConfig) -> DictConfig:
    """The job's own config, as `@hydra.main` hands it to its function."""
    own = copy.deepcopy(config)
    with open_dict(own):
        del own["hydra"]
    return own
