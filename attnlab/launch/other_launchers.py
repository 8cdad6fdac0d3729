"""Sweeps on Hydra's other launchers: Ray, Slurm by submitit. They queue and start jobs; the jobs are attnlab's.

Every job is composed and checked before the first one is submitted, recorded runs are not submitted, and all failures
are printed at the end. The records are those of launcher=local.
"""

import os
import sys
from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from attnlab.configuration.compose import check
from attnlab.configuration.groups import LAUNCHER_PACKAGES
from attnlab.configuration.replaced_nodes import spelled_out
from attnlab.configuration.resolvers import register_resolvers
from attnlab.errors import AttnlabError, ConfigError
from attnlab.launch.job import Job
from attnlab.launch.objective import Value, value_of
from attnlab.launch.one_run import print_failure
from attnlab.launch.plan import Plan


class OtherLauncher(Launcher):
    """Plans a sweep and submits its jobs to `inner`, a launcher of Hydra's.

    name: its name in the group hydra/launcher.  failed: whether a job has failed;  refused: whether a record was;
    jobs, searched: see AttnlabLauncher.
    """

    def __init__(self, inner: Launcher, name: str) -> None:
        self.inner, self.failed, self.refused = inner, False, False
        self.jobs: list[Job] = []
        self.searched: list[str] | None = None
        #: as the user named it: launcher=slurm, or hydra/launcher=basic
        self.title = f"launcher={LAUNCHER_PACKAGES[name][1]}" if name in LAUNCHER_PACKAGES else f"hydra/launcher={name}"

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Give `inner` the function `work`, which jobs on other machines import by name."""
        self.context, self.config = hydra_context, config
        self.inner.setup(hydra_context=hydra_context, task_function=work, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        plan = Plan(self.context, self.config, job_overrides, initial_job_idx, self.searched)
        for job in plan.waiting:
            self._check(job.config)
        if self.config.dry_run:
            plan.print_jobs()
        elif plan.waiting:
            self._submit(plan, initial_job_idx)
            plan.print_summary()
        self.failed |= plan.failed
        self.refused |= bool(plan.refused)
        self.jobs += plan.jobs
        return plan.returned()

    def _submit(self, plan: Plan, initial_job_idx: int) -> None:
        """Submit the waiting jobs and wait for their ends."""
        waiting = plan.waiting
        print(f"{self.title}: {len(waiting)} jobs", flush=True)
        try:
            ended = self.inner.launch([spelled_out(job.overrides) for job in waiting], initial_job_idx)
        except KeyboardInterrupt:
            if self.title == "launcher=slurm":
                stay = "launcher=slurm: the jobs stay in the queue (squeue --me lists them, scancel ends them)"
                print(f"attnlab: {stay}", file=sys.stderr, flush=True)
            raise
        for job, returned in zip(waiting, ended, strict=True):
            if returned.status == JobStatus.COMPLETED:
                job.state, job.value = "done", returned._return_value
            else:
                job.state, job.reason = "failed", str(returned._return_value)

    def _check(self, config: DictConfig) -> None:
        """Raise ConfigError for a job that this launcher cannot start."""
        if self.config.hydra.job.chdir:
            raise ConfigError(
                f"wrong value hydra.job.chdir=true; allowed with {self.title} is false; output_dir would be "
                "another folder"
            )
        devices = config.machine.devices
        if self.title != "launcher=slurm":
            if devices != 1 or config.machine.nodes != 1:
                raise ConfigError(
                    f"wrong value machine.devices={devices}; allowed with {self.title} is 1; "
                    "launcher=local and launcher=slurm run jobs on several devices"
                )
            return
        tasks, nodes = self.config.hydra.launcher.tasks_per_node, self.config.hydra.launcher.nodes
        for key, job, all_jobs in (("machine.devices", devices, tasks), ("machine.nodes", config.machine.nodes, nodes)):
            if job != all_jobs:
                raise ConfigError(
                    f"wrong value {key}={job}; allowed in this sweep is {all_jobs}, the value in hydra.launcher; with "
                    "launcher=slurm all jobs of a sweep have the same"
                )


def planned(
    launcher: Launcher, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
) -> Launcher:
    """The launcher itself if it is attnlab's own, which plans a sweep; else an OtherLauncher that plans for it."""
    name = config.hydra.runtime.choices["hydra/launcher"]
    if name == "attnlab":
        return launcher
    other = OtherLauncher(launcher, name)
    other.setup(hydra_context=hydra_context, task_function=task_function, config=config)
    return other


def work(cfg: DictConfig) -> Value | None:
    """One job, in the process that the launcher gives it: the value of its objective, see attnlab.launch.objective.

    Prints the message of a failure and raises it as an AttnlabError, which the launcher hands back.
    """
    from attnlab.machine import ranks
    from attnlab.training.train import train

    register_resolvers()
    ranks.forget_batch_script()
    try:
        values = check(cfg)
        if int(os.environ.get("SLURM_RESTART_COUNT", 0)):  # the first start has put the old run aside
            values["force"] = False
        if values["machine"]["devices"] != 1 and not ranks.by_srun():
            raise ConfigError(f"machine.devices={values['machine']['devices']}: this job was given one task")
        return value_of(train(values), values.get("objective"))
    except Exception as error:
        raise AttnlabError(print_failure(error)) from None
