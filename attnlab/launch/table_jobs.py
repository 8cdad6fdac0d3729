"""From a table to the jobs of a sweep, seed by seed, so that every cell of an unfinished table has as many runs."""

from collections.abc import Sequence

from omegaconf import DictConfig

from attnlab.launch.expected_time import SOURCE, estimate
from attnlab.machine.gpus import jobs_at_a_time, wanted
from attnlab.machine.sharing import choose_sharing
from attnlab.records.provenance import doubts
from attnlab.records.record import RESULTS, gather
from attnlab.tables.grid import Grid, read_grid
from attnlab.tables.progress import Progress, progress_of


def jobs(arguments: Sequence[str], config: DictConfig) -> list[list[str]]:
    """The overrides of every missing run; prints how many there are. Raises ConfigError for arguments of no table.

    They contain hydra.mode=RUN: the further ranks of a DDP job repeat them, and must not start the table again.
    """
    grid = read_grid(arguments)
    records, left_out = gather(config.output_dir)
    for reason in left_out:
        print(f"left out: {reason}")
    # Records that other code has made are not done: the launcher gets these runs and refuses them by name.
    done = [] if config.force else [r for r in records if config.code == "recorded" or not doubts(r, config.output_dir)]
    progress = progress_of(grid, done)
    print(_heading(grid, progress, config), flush=True)
    if elsewhere := len({record["id"] for record in gather(RESULTS)[0]} & set(progress.to_do.values())):
        print(f"table {grid.name}: {elsewhere} of them are in ./{RESULTS}, which reports show; they are run here anew")
    if grid.changed:
        print(f"table {grid.name}: not the protocol: {' '.join(grid.changed)}")
    without = {argument for cell in grid.cells for argument in grid.run_overrides if argument not in cell.run_overrides}
    if without:
        print(f"table {grid.name}: rows with attention=none are without {' '.join(sorted(without))}")
    cells = {(cell.row, cell.column): cell for cell in grid.cells}
    return [
        [
            f"table={grid.name}", "hydra.mode=RUN", *cells[row, column].overrides, f"seed={seed}",
            *cells[row, column].run_overrides,
        ]
        for row, column, seed in progress.to_do
    ]  # fmt: skip


def _heading(grid: Grid, progress: Progress, config: DictConfig) -> str:
    """The line that says how many runs there are, and how long they take on this machine."""
    if not progress.to_do:  # counting GPUs would import torch
        return progress.heading(grid.name, 1)
    machine = config.machine
    auto = config.runs_per_gpu == "auto" and wanted(machine)
    sharing = choose_sharing(cell.config["dataset"]["image_size"] for cell in grid.cells) if auto else None
    runs_per_gpu = sharing.runs if sharing else config.runs_per_gpu
    at_a_time = jobs_at_a_time(config.n_jobs, runs_per_gpu, machine.accelerator, machine.devices, machine.threads)
    return progress.heading(grid.name, at_a_time, estimate(sharing, at_a_time), SOURCE)
