"""Hydra's door to attnlab's sweeps. It imports nothing heavy, as Hydra imports it at every start."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class AttnlabSweeper(BasicSweeper):
    """Every combination of what is listed, as Hydra's own; of a table, its runs: rows x columns x seeds, but for those
    that are recorded (attnlab.tables.grid). Jobs on other launchers go through attnlab.launch.other_launchers.
    """

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None, arguments: Sequence[str]) -> None:
        super().__init__(max_batch_size, params)
        self.hidden = list(arguments)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        if self.launcher and config.hydra.runtime.choices["hydra/launcher"] != "attnlab":
            from attnlab.launch.other_launchers import of

            self.launcher = of(config, self.launcher)
            self.launcher.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        assert self.config is not None
        assert self.launcher is not None
        from attnlab.configuration.sweep_arguments import of_jobs

        arguments = [*arguments, *of_jobs(self.hidden)]
        if OmegaConf.select(self.config, "table.rows") is None:
            return super().sweep(arguments)
        from attnlab.launch.table_jobs import jobs

        overrides = jobs(arguments, self.config)
        return [self.launcher.launch(overrides, initial_job_idx=0)] if overrides else []

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing here: attnlab's launchers compose and check every job themselves, before the first one starts."""


@dataclass
class AttnlabSweeperConf:
    """What `hydra.sweeper` holds. arguments: those that only jobs can have (configuration/sweep_arguments.py); the
    others are BasicSweeper's."""

    _target_: str = "hydra_plugins.attnlab_sweeper.AttnlabSweeper"
    max_batch_size: Any = None
    params: Any = None
    arguments: Any = ()


ConfigStore.instance().store(group="hydra/sweeper", name="attnlab", node=AttnlabSweeperConf, provider="attnlab")
