"""Hydra's door to attnlab's launcher: Hydra takes plugins only from the namespace `hydra_plugins`.

The wheel puts this folder at the top of site-packages; the editable install puts attnlab/plugins on the path. Hydra
imports it at every start, so it imports nothing heavy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class AttnlabLauncher(Launcher):
    """Every job of a sweep is its own process, forked from this one; see attnlab.launch.sweep."""

    def __init__(self, n_jobs: int | None = 1) -> None:
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from attnlab.errors import ConfigError
        from attnlab.launch.sweep import Sweep
        from attnlab.machine.ranks import by_srun, by_torchrun

        make: type[Sweep] = Sweep
        if by_srun():
            raise ConfigError("srun: starts the ranks of single runs; sweeps: launcher=slurm, or torchrun within srun")
        if by_torchrun():
            from attnlab.launch.torchrun import RanksSweep

            make = RanksSweep
        return make(self.hydra_context, self.task_function, self.config, self.n_jobs).launch(job_overrides)


@dataclass
class AttnlabLauncherConf:
    """What `hydra.launcher` holds; n_jobs is the key of run.yaml."""

    _target_: str = "hydra_plugins.attnlab_launcher.AttnlabLauncher"
    n_jobs: Any = "${n_jobs}"


ConfigStore.instance().store(group="hydra/launcher", name="attnlab", node=AttnlabLauncherConf, provider="attnlab")
