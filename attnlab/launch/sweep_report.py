"""The report of a sweep or a table that has ended, for a tracker with tracker.report=true."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf

from attnlab.errors import ConfigError
from attnlab.launch.objective import run_of
from attnlab.records.record import read_record


def report_to_tracker(config: DictConfig, arguments: Sequence[str], jobs: Sequence[JobReturn]) -> None:
    """Write the report of the recorded runs and send it; nothing without tracker.report=true.

    config: the sweep's;  arguments: those of a table;  jobs: what the launcher handed back of a plain sweep.
    """
    if not config.tracker.get("report") or config.dry_run:
        return
    from attnlab.training.report_run import send_report

    output_dir = Path(config.output_dir)
    try:
        if OmegaConf.select(config, "table.rows") is not None:
            from attnlab.tables.write import report_table

            report = report_table(arguments)
            name, files = report.comparison.grid.name, report.paths
        else:
            name, files = "sweep", _write(output_dir, [run_of(job) for job in jobs])
    except ConfigError as error:  # no run has finished
        print(f"tracker={config.tracker.kind}: no report; {error}", flush=True)
        return
    settings = OmegaConf.to_container(config.tracker, resolve=True)
    assert isinstance(settings, dict)
    print(send_report({str(key): value for key, value in settings.items()}, name, files, output_dir), flush=True)


def _write(output_dir: Path, runs: Sequence[str]) -> list[Path]:
    """The overview of some runs: OUTPUT_DIR/tables/sweep.{md,csv,png}. Raises ConfigError if none is recorded."""
    from attnlab.tables.csv_rows import write_csv
    from attnlab.tables.overview import csv_rows, markdown, tabulate
    from attnlab.tables.style import draw_accuracies

    records = [record for run in dict.fromkeys(runs) if (record := read_record(output_dir / run))]
    if not records:
        raise ConfigError(f"no run of the sweep is recorded in output_dir={output_dir}")
    tables = tabulate(records)
    folder = output_dir / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"sweep.{suffix}" for suffix in ("md", "csv", "png")]
    paths[0].write_text(markdown(tables))
    write_csv(paths[1], csv_rows(tables))
    draw_accuracies(tables, paths[2])
    return paths
