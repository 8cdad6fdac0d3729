"""Sweeps: one process a job, forked from a launcher that has imported torch and computed nothing.

So no state leaks from job to job, a failure stays the failure of one job, and imports are paid once. On Linux, jobs die
with their launcher.
"""

import os
import select
import signal
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from attnlab.configuration.compose import Checked
from attnlab.configuration.replaced_nodes import typed
from attnlab.configuration.run_name import run_name
from attnlab.errors import ConfigError
from attnlab.launch.display import Bars, Lines
from attnlab.launch.job import Job, Report
from attnlab.launch.objective import Value
from attnlab.launch.one_run import run_one
from attnlab.launch.plan import Plan
from attnlab.machine import cpu, gpus, nvidia_mps
from attnlab.machine.processes import raise_interrupt
from attnlab.machine.ranks import PROCESS_GROUP
from attnlab.machine.sharing import Sharing, choose_sharing
from attnlab.records.source_code import import_all

#: environment variables that a job must not inherit from another job or from the shell
NOT_INHERITED = (*PROCESS_GROUP, "PL_GLOBAL_SEED", "WANDB_RUN_ID")
STOP_SECONDS = 20.0  # that a job has to end after SIGTERM, before SIGKILL
POLL_SECONDS = 0.1  # longest wait for jobs that send nothing
ENDING_SECONDS = 0.005  # wait for a job that has closed its pipe and is about to end


class Sweep:
    """Runs the jobs of a plan, `n_jobs` at a time; null: as many as the GPUs have place for, or the CPU has cores.

    Raises ConfigError for an n_jobs that is no count.
    """

    def __init__(self, config: DictConfig, n_jobs: int | None) -> None:
        if n_jobs is not None and (not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or n_jobs < 1):
            raise ConfigError(f"wrong value n_jobs={n_jobs}; allowed is an integer from 1, or null")
        machine = config.machine
        self.n_jobs = gpus.jobs_at_a_time(
            n_jobs, config.runs_per_gpu, machine.accelerator, machine.devices, machine.threads
        )
        self.config, self.given_n_jobs = config, n_jobs
        self.runs_per_gpu = gpus.shared_by(config.runs_per_gpu)
        self.stopping = False

    def run(self, plan: Plan) -> None:
        """Run every waiting job of the plan, then print what failed. With runs_per_gpu=auto jobs share the GPUs."""
        sharing = self.sharing(plan)
        if sharing is None or not plan.waiting:
            self._run(plan)
            return
        with nvidia_mps.side_by_side() if sharing.side_by_side else nullcontext(False) as started:
            self._share(replace(sharing, side_by_side=started))
            print(f"sweep: {self.n_jobs} runs at a time, up to {self.runs_per_gpu} on a GPU", flush=True)
            self._run(plan)

    def sharing(self, plan: Plan) -> Sharing | None:
        """How the waiting jobs share the GPUs with runs_per_gpu=auto; None for a number, and on a CPU."""
        if self.config.runs_per_gpu != "auto" or not gpus.wanted(self.config.machine):
            return None
        sharing = choose_sharing(job.values["dataset"]["image_size"] for job in plan.waiting)
        self._share(sharing)
        return sharing

    def _share(self, sharing: Sharing) -> None:
        machine, self.runs_per_gpu = self.config.machine, sharing.runs
        self.n_jobs = gpus.jobs_at_a_time(
            self.given_n_jobs, sharing.runs, machine.accelerator, machine.devices, machine.threads
        )

    def _run(self, plan: Plan) -> None:
        waiting = plan.waiting
        if self.given_n_jobs is None:  # fewer jobs than places: each job gets more cores
            self.n_jobs = max(1, min(self.n_jobs, len(waiting)))
            if len(waiting) > 1 and plan.searched is None:
                print(f"sweep: {self.n_jobs} of {len(waiting)} jobs at a time", flush=True)
        if waiting:
            import attnlab.training.train  # noqa: F401  every job inherits the imports of torch and lightning
        for job in waiting:
            import_all(job.values)
            run_name(job.values)  # reads every yaml file of its groups, which each job would read again
        if any(job.values["tracker"].get("kind") == "wandb" for job in waiting):
            import wandb.sdk.launch  # noqa: F401  wandb.init imports it: hundreds of modules, a second in every job
        self.display: Bars | Lines = (
            Bars(plan.jobs, self.n_jobs)
            if sys.stdout.isatty()
            else Lines(plan.jobs, self.n_jobs, tally=plan.searched is None)
        )
        self.running: dict[int, Job] = {}
        self.searched = plan.searched
        self.printed_reasons: set[str] = set()  # one message of several jobs is printed once
        previous = signal.signal(signal.SIGTERM, raise_interrupt)
        try:
            while waiting or self.running:
                while waiting and len(self.running) < self.n_jobs:
                    job = waiting.pop(0)
                    job.fork(self._work, capture=self.display.captures)
                    self.running[job.pid] = job
                self._wait()
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            signal.signal(signal.SIGTERM, previous)
            try:
                self.display.close()
            finally:
                plan.print_summary()

    def _wait(self) -> None:
        """Wait until a job sends something, prints or ends, at most POLL_SECONDS, and update the display."""
        running = self.running
        pipes = [pipe for job in running.values() for pipe in (job.reports, job.output) if pipe and pipe.open]
        ending = any(job.reports and not job.reports.open for job in running.values())
        select.select([pipe.reader for pipe in pipes], [], [], ENDING_SECONDS if ending else POLL_SECONDS)
        self.display.show([line for job in running.values() for line in job.read()])
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            if pid in running:
                self._ended(running.pop(pid), status)

    def _work(self, job: Job, report: Report) -> Value | None:
        """Run the job, in its own process."""
        signal.signal(signal.SIGTERM, raise_interrupt)
        for name in NOT_INHERITED:
            os.environ.pop(name, None)
        share = _share_of_cores(job.values["machine"], self.n_jobs)
        # Lightning's DDP starts further ranks by repeating sys.argv, so it must name this job, not the sweep.
        sys.argv = [sys.argv[0], *job.overrides, *(f"machine.{key}={count}" for key, count in share.items())]
        with open_dict(job.config):
            job.config.hydra.mode = "RUN"
        HydraConfig.instance().set_config(job.config)
        # The record keeps n_jobs and threads, since jobs that share a machine slow each other down.
        shared = {"n_jobs": self.n_jobs, "runs_per_gpu": self.runs_per_gpu}
        values = Checked(job.values | shared | {"machine": job.values["machine"] | share})
        overrides = typed(HydraConfig.get().overrides.task)
        if self.searched is not None:  # the others are those of the search
            overrides = [each for each in overrides if each.partition("=")[0] in self.searched]
        on_progress = (lambda done, rate: report(share=done, rate=rate)) if self.display.captures else None
        with gpus.held(gpus.wanted(values["machine"]), values["runs_per_gpu"]):
            return run_one(
                values, overrides, on_progress=on_progress, name=" ".join(job.differs) or None,
                on_lost_rank=lambda reason: report(error=reason, printed=True),
            )  # fmt: skip

    def _ended(self, job: Job, status: int) -> None:
        self.display.show(job.end(status, stopping=self.stopping))
        if job.state == "failed" and not job.printed_reason and job.reason not in self.printed_reasons:
            self.printed_reasons.add(job.reason)
            line = f"attnlab: {job.title}: {job.reason}"
            if self.display.captures and sys.stderr.isatty():
                self.display.show([line])  # above the bars
            else:
                print(line, file=sys.stderr, flush=True)
        if job.state != "waiting":
            self.display.ended(job)

    def _stop(self) -> None:
        """Stop the running jobs: SIGTERM, and SIGKILL for those that have not ended after STOP_SECONDS."""
        self.stopping = True
        for pid in self.running:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.running and time.monotonic() < deadline:
            self._wait()
        for pid, job in list(self.running.items()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._ended(job, os.waitpid(pid, 0)[1])


def _share_of_cores(machine: dict[str, Any], n_jobs: int) -> dict[str, int]:
    """machine.threads and machine.workers of one of n_jobs jobs, where the config leaves them to attnlab."""
    if n_jobs == 1:
        return {}
    devices = machine["devices"] if isinstance(machine["devices"], int) else 1
    share = max(1, cpu.cores() // (n_jobs * max(1, devices)))
    return {key: share for key in ("threads", "workers") if machine[key] is None}
