"""MLflow: a run of MLflow's for each run, by default in OUTPUT_DIR/mlflow.db, which `mlflow ui` shows.

A run that is resumed or repeated goes on in its MLflow run, which is found by the tag `attnlab.run`.
"""

import fcntl
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger

from attnlab.errors import ConfigError
from attnlab.training.tracked_run import TrackedRun

TAG = "attnlab.run"
#: numbers of a record that MLflow shows beside its metrics
COSTS = ("params", "macs", "seconds", "images_per_second", "peak_memory", "best_epoch")


def check(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError if the package is missing."""
    if not find_spec("mlflow"):
        raise ConfigError("tracker=mlflow: needs the package mlflow; install attnlab[mlflow]")


def store(settings: Mapping[str, Any], output_dir: Path) -> dict[str, str]:
    """Where MLflow keeps runs and files, as arguments of Lightning's logger: tracker.uri, or files in output_dir."""
    if uri := settings.get("uri"):
        return {"tracking_uri": uri}
    folder = output_dir.resolve()
    return {"tracking_uri": f"sqlite:///{folder}/mlflow.db", "artifact_location": f"file://{folder}/mlartifacts"}


def open_logger(run: TrackedRun) -> MLFlowLogger:
    """Start MLflow's run, or go on with the one that this run has already."""
    where: dict[str, Any] = store(run.settings, run.folder.parent) | {"experiment_name": run.settings["project"]}
    with (run.folder.parent / ".mlflow.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # jobs that start together would all make the tables and the experiment
        known = _known_run(MLFlowLogger(**where), run)
        tags = {TAG: run.id, "group": run.group} | dict.fromkeys(run.tags, "true")
        logger = MLFlowLogger(**where, run_name=run.name, tags=tags, run_id=known)
        _ = logger.experiment
    if known is None:
        logger.log_hyperparams(dict(run.config["names"]) | _flat({k: v for k, v in run.config.items() if k != "names"}))
    return logger


def log_picture(logger: MLFlowLogger, name: str, path: Path, step: int) -> None:
    """Log a PNG file among the run's files; its own name tells the epoch."""
    logger.experiment.log_artifact(logger.run_id, str(path), name)


def close(logger: MLFlowLogger, exit_code: int, record: Mapping[str, Any] | None) -> None:
    """Store the record as result.json, its costs as metrics, and end the run."""
    if record is not None:
        logger.experiment.log_dict(logger.run_id, dict(record), "result.json")
        logger.log_metrics({name: float(record[name]) for name in COSTS if record.get(name) is not None})
    logger.finalize("failed" if exit_code else "success")


def _known_run(logger: MLFlowLogger, run: TrackedRun) -> str | None:
    """The id of the MLflow run of an earlier start, or None."""
    experiment = logger._mlflow_client.get_experiment_by_name(run.settings["project"])
    if experiment is None:
        return None
    found = logger._mlflow_client.search_runs([experiment.experiment_id], f"tags.`{TAG}` = '{run.id}'", max_results=1)
    return found[0].info.run_id if found else None


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """{"recipe.optimizer.lr": value} for nested mappings."""
    if not isinstance(node, Mapping):
        return {prefix: node}
    parts = [_flat(item, f"{prefix}.{name}" if prefix else str(name)) for name, item in node.items()]
    return {key: value for part in parts for key, value in part.items()}
