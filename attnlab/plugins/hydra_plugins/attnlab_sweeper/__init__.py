"""Hydra's door to attnlab's tables: the sweeper that a table's yaml names. It imports nothing heavy, as Hydra does."""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class TableSweeper(Sweeper):
    """The runs of a table, rows x columns x seeds; what is recorded is not run again. See attnlab.grid."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from attnlab.table_sweep import jobs

        assert self.config is not None
        assert self.launcher is not None
        overrides = jobs(arguments, self.config)
        return [self.launcher.launch(overrides, initial_job_idx=0)] if overrides else []


@dataclass
class TableSweeperConf:
    """What `hydra.sweeper` holds."""

    _target_: str = "hydra_plugins.attnlab_sweeper.TableSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="attnlab", node=TableSweeperConf, provider="attnlab")
