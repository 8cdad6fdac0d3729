"""`--cfg job` of a sweep or a table: print every job's config as a YAML document under a line that names the job."""

from collections.abc import Iterator, Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from omegaconf import OmegaConf

from attnlab.configuration.compose import compose_file
from attnlab.configuration.overrides import parse
from attnlab.configuration.sweep_arguments import compose_jobs, left_out
from attnlab.tables.grid import read_grid


def configs(overrides: Sequence[str], *, resolve: bool) -> Iterator[str]:
    """Yield one text for each job of a sweep, or for each cell of a table at its first seed.

    Raises ConfigError for what the sweep itself refuses.
    """
    items = parse(overrides, "the command line")
    if any(item.key_or_group == "table" for item in items):
        grid = read_grid(overrides)
        for cell in grid.cells:
            where = f"{cell.row}, {cell.column}" if cell.column else cell.row
            config = OmegaConf.create(cell.config | {"seed": grid.seeds[0]})
            yield f"# {where}, seed={grid.seeds[0]}\n{OmegaConf.to_yaml(config)}"
        return
    if drawn := [item.key_or_group for item in items if item.is_interval_sweep()]:
        yield f"# without {', '.join(drawn)}, which a search draws\n"
    listed = [item for item in items if not item.is_interval_sweep()]
    jobs = compose_jobs(lambda given: compose_file("run", given), BasicSweeper.split_arguments(listed, None)[0])
    if line := left_out(jobs):
        yield f"# {line}\n"
    for number, job in enumerate(jobs):
        yield f"# #{number} {' '.join(job.overrides)}\n{OmegaConf.to_yaml(job.config, resolve=resolve)}"
