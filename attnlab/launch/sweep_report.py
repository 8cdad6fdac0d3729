"""The report of a sweep or a table that has ended, for a tracker with tracker.report=true."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from attnlab.tables.write import TableReport


def report_to_tracker(config: DictConfig, report: TableReport | None) -> None:
    """Send the files of a report; nothing without tracker.report=true.

    config: the sweep's;  report: None if it has none.
    """
    if not config.tracker.get("report"):
        return
    from attnlab.training.report_run import send_report

    if report is None:
        print(f"tracker={config.tracker.kind}: no report; no two runs are recorded", flush=True)
        return
    settings = OmegaConf.to_container(config.tracker, resolve=True)
    assert isinstance(settings, dict)
    name, output_dir = report.comparison.grid.name, Path(config.output_dir)
    sent = send_report({str(key): value for key, value in settings.items()}, name, report.paths, output_dir)
    print(sent, flush=True)
