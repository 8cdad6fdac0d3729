"""Hydra's door to attnlab's sweepers: of sweeps, and of tables. It imports nothing heavy, as Hydra does."""

from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class GridSweeper(BasicSweeper):
    """Hydra's own: every combination of what is listed; jobs on other launchers go through attnlab.engines."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.launcher = launcher_of(hydra_context, task_function, config)


class TableSweeper(Sweeper):
    """The runs of a table, rows x columns x seeds; what is recorded is not run again. See attnlab.grid."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.launcher = launcher_of(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        from attnlab.table_sweep import jobs

        assert self.config is not None
        assert self.launcher is not None
        overrides = jobs(arguments, self.config)
        return [self.launcher.launch(overrides, initial_job_idx=0)] if overrides else []


def launcher_of(context: HydraContext, task: TaskFunction, config: DictConfig) -> Launcher:
    """The launcher that the config names, set up."""
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    if config.hydra.runtime.choices["hydra/launcher"] == "attnlab":
        return launcher
    from attnlab.engines import of

    launcher = of(config, launcher)
    launcher.setup(hydra_context=context, task_function=task, config=config)
    return launcher


@dataclass
class GridSweeperConf:
    """What `hydra.sweeper` holds."""

    _target_: str = "hydra_plugins.attnlab_sweeper.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


@dataclass
class TableSweeperConf:
    """What `hydra.sweeper` holds."""

    _target_: str = "hydra_plugins.attnlab_sweeper.TableSweeper"


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="attnlab")
ConfigStore.instance().store(group="hydra/sweeper", name="attnlab", node=TableSweeperConf, provider="attnlab")
