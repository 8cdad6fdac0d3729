"""The launcher and the sweepers that Hydra calls for `-m` and for tables; conf/hydra/ names them.

`register` makes Hydra know them, so a checkout on PYTHONPATH needs no installation. Nothing heavy is imported here:
the classes import what they need when they are called.
"""

import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from attnlab.launch.job import Job

Plugins.instance()  # executes Hydra's own plugins again, so a BasicSweeper imported before it would be another class

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # noqa: E402


class AttnlabLauncher(Launcher):
    """Runs every job of a sweep in its own process, forked from this one (attnlab.launch.sweep).

    n_jobs: jobs at a time; null: as many as the GPUs have place for, or the CPU has cores.  failed: whether a job
    failed;  refused: whether a record was;  jobs: all of them;  searched: keys of which a search draws the values;
    None: it is no search.
    """

    def __init__(self, n_jobs: int | None = None) -> None:
        self.n_jobs, self.failed, self.refused = n_jobs, False, False
        self.jobs: list[Job] = []
        self.searched: list[str] | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what `launch` needs. Jobs call attnlab.launch.one_run, not Hydra's task function."""
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from attnlab.launch.expected_time import estimate
        from attnlab.launch.plan import Plan
        from attnlab.launch.sweep import Sweep

        sweep = Sweep(self.config, self.n_jobs)
        plan = Plan(self.hydra_context, self.config, job_overrides, initial_job_idx, self.searched)
        if self.config.dry_run:
            sharing = sweep.sharing(plan)
            plan.print_jobs(estimate(sharing, sweep.n_jobs), sweep.n_jobs)
        else:
            sweep.run(plan)
        self.failed |= plan.failed
        self.refused |= bool(plan.refused)
        self.jobs += plan.jobs
        return plan.returned()


class AttnlabSweeper(BasicSweeper):
    """Runs every combination of the listed values, as Hydra's BasicSweeper does, or the missing runs of a table.

    arguments: overrides that only jobs can have (attnlab.configuration.sweep_arguments).
    Prints the table of the sweep at its end. Exits with status 1 when a job failed; the launcher has printed why.
    """

    def __init__(self, max_batch_size: int | None, params: dict[str, str] | None, arguments: Sequence[str]) -> None:
        super().__init__(max_batch_size, params)
        self.job_arguments = list(arguments)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        if self.launcher:
            from attnlab.launch.other_launchers import planned

            self.launcher = planned(self.launcher, hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        assert self.config is not None
        assert self.launcher is not None
        from attnlab.configuration.sweep_arguments import of_jobs

        arguments = [*arguments, *of_jobs(self.job_arguments)]
        is_table = OmegaConf.select(self.config, "table.rows") is not None
        if is_table:
            from attnlab.launch.table_jobs import jobs

            overrides = jobs(arguments, self.config)
            returned = [self.launcher.launch(overrides, initial_job_idx=0)] if overrides else []
        else:
            returned = super().sweep(arguments)
        if not self.config.dry_run:
            from attnlab.launch.answer import answer_of_sweep, answer_of_table
            from attnlab.launch.sweep_report import report_to_tracker

            # An AttnlabLauncher or an OtherLauncher.
            configs = [job.values for job in self.launcher.jobs]  # type: ignore[attr-defined]
            report = answer_of_table(arguments) if is_table else answer_of_sweep(configs, arguments)
            report_to_tracker(self.config, report)
        if self.launcher.failed:  # type: ignore[attr-defined]
            sys.exit(1)
        return returned

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: the launcher composes and checks every job before it starts the first one."""


def register() -> None:
    """Make Hydra know the plugins.

    Hydra instantiates a plugin only when its `_target_` begins with `hydra_plugins.`. The classes keep their own module
    names, by which other launchers pickle them.
    """
    from attnlab.launch.search import SearchSweeper

    plugins = Plugins.instance()
    for plugin in (AttnlabLauncher, AttnlabSweeper, SearchSweeper):
        plugins.register(plugin)
        plugins.class_name_to_class[f"hydra_plugins.attnlab.{plugin.__name__}"] = plugin
