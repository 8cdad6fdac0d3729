"""Sweeps on other people's launchers: joblib, Ray, Slurm by submitit. They queue and run; what a job is stays ours.

Each job is composed and checked before the first one is handed over, what is recorded is not handed over, and every
failure is told at the end. Jobs write the records that launcher=local gives.
"""

import os
import sys
from collections.abc import Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from attnlab.configuration.compose import check
from attnlab.configuration.explain import explain
from attnlab.configuration.groups import PACKAGES
from attnlab.configuration.resolvers import register_resolvers
from attnlab.configuration.secrets import hide
from attnlab.errors import AttnlabError, ConfigError
from attnlab.launch.sweep import Sweep, failures

#: hydra/launcher -> launcher, as the user named it
ENGINES = {name: launcher for name, (_, launcher) in PACKAGES.items()}


class Engine(Launcher):
    """A launcher of Hydra's, given the jobs that are to run."""

    def __init__(self, inner: Launcher, name: str) -> None:
        self.inner, self.name = inner, name

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """`work` in place of the command's own function: jobs elsewhere import it by name."""
        self.context, self.config = hydra_context, config
        self.inner.setup(hydra_context=hydra_context, task_function=work, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        sweep = Sweep(self.context, work, self.config, self.config.n_jobs)
        waiting = sweep.prepare(job_overrides)
        for job in waiting:
            self._check(job.config)
        own = [*self._own()]
        if self.config.dry_run:
            sweep.list()
        elif waiting:
            print(f"launcher={self.name}: {len(waiting)} jobs", flush=True)
            try:
                ended = self.inner.launch([[*job.overrides, *own] for job in waiting], initial_job_idx)
            except KeyboardInterrupt:
                if self.name == "slurm":
                    stay = "launcher=slurm: the jobs stay in its queue (squeue --me; scancel ends them)"
                    print(f"attnlab: {stay}", file=sys.stderr, flush=True)
                raise
            for job, returned in zip(waiting, ended, strict=True):
                job.state = "done" if returned.status == JobStatus.COMPLETED else "failed"
                job.value = returned._return_value if job.state == "done" else None
                job.reason = "" if job.state == "done" else str(returned._return_value)
                if job.state == "failed":
                    failures.append(f"{job.title}: {job.reason}")
            sweep.summary()
        return sweep.returned()

    def _check(self, config: DictConfig) -> None:
        if self.config.hydra.job.chdir:
            raise ConfigError(
                f"hydra.job.chdir=true: allowed with launcher={self.name} is false; output_dir would be another folder"
            )
        devices = config.machine.devices
        if self.name != "slurm":
            if devices != 1 or config.machine.nodes != 1:
                raise ConfigError(
                    f"machine.devices={devices}: allowed with launcher={self.name} is 1; "
                    "launcher=local and launcher=slurm run jobs on several devices"
                )
            return
        tasks, nodes = self.config.hydra.launcher.tasks_per_node, self.config.hydra.launcher.nodes
        for key, job, all_jobs in (("machine.devices", devices, tasks), ("machine.nodes", config.machine.nodes, nodes)):
            if job != all_jobs:
                raise ConfigError(
                    f"{key}={job}: allowed in this sweep is {all_jobs}, as hydra.launcher has it; with launcher=slurm "
                    "all its jobs have as many"
                )

    def _own(self) -> Sequence[str]:
        """What jobs that share this machine must know: their part of its cores."""
        if self.name != "joblib":
            return []
        from joblib import effective_n_jobs

        from attnlab.machine.hardware import cores

        n_jobs = self.config.hydra.launcher.n_jobs
        if not isinstance(n_jobs, int) or not n_jobs:
            raise ConfigError(f"hydra.launcher.n_jobs={n_jobs}: allowed is an integer from 1, or -1: as many as cores")
        at_once = effective_n_jobs(n_jobs)
        if at_once == 1:
            return []
        part = max(1, cores() // at_once)
        return [f"machine.{key}={part}" for key in ("threads", "workers") if self.config.machine[key] is None]


def work(cfg: DictConfig) -> float | None:
    """One job, in a process of its engine: its validation error in percent. Raises AttnlabError: its one message."""
    from attnlab.machine import gpus, ranks
    from attnlab.training.train import train

    register_resolvers()
    ranks.alone()
    try:
        values = check(cfg)
        if int(os.environ.get("SLURM_RESTART_COUNT", 0)):  # what force=true asked for was done when it first started
            values["force"] = False
        if values["machine"]["devices"] != 1 and not ranks.by_srun():
            raise ConfigError(f"machine.devices={values['machine']['devices']}: this job was given one task")
        shared = HydraConfig.get().runtime.choices.get("hydra/launcher") == "joblib"
        with gpus.held(gpus.wanted(values["machine"]) if shared else 0, values["runs_per_gpu"]):
            return train(values)["metrics"]["val/top1_error"]
    except Exception as error:
        message = hide(explain(error) if isinstance(error, AttnlabError) else f"{type(error).__name__}: {error}")
        print(f"attnlab: {message}", file=sys.stderr, flush=True)
        raise AttnlabError(message) from None


def of(config: DictConfig, launcher: Launcher) -> Launcher:
    """A sweep's launcher that is not attnlab's: an Engine, where it is one of ENGINES.

    Raises ConfigError for another one, as Hydra's basic, that would be given jobs of several devices.
    """
    name = config.hydra.runtime.choices["hydra/launcher"]
    if name not in ENGINES:
        if config.machine.devices != 1 or config.machine.nodes != 1:
            raise ConfigError(
                f"machine.devices={config.machine.devices}: allowed with hydra/launcher={name} is 1; "
                "launcher=local and launcher=slurm run jobs on several devices"
            )
        return launcher
    return Engine(launcher, ENGINES[name])
