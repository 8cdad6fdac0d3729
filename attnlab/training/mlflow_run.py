"""MLflow: a run of MLflow's for each run, by default in OUTPUT_DIR/mlflow.db, which `mlflow ui` shows.

A run that is resumed or repeated goes on in its MLflow run, which is found by the tag `attnlab.run`.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

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


class Store(NamedTuple):
    """Where MLflow keeps runs (uri) and their files (files; None: where the server says)."""

    uri: str
    files: str | None


def store(settings: Mapping[str, Any], output_dir: Path) -> Store:
    """The store that tracker.uri names, or one in output_dir."""
    if uri := settings.get("uri"):
        return Store(uri, None)
    folder = output_dir.resolve()
    return Store(f"sqlite:///{folder}/mlflow.db", f"file://{folder}/mlartifacts")


def open_logger(run: TrackedRun) -> MLFlowLogger:
    """Start MLflow's run, or go on with the one that this run has already."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else it prints how it makes its tables
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    where, project = store(run.settings, run.folder.parent), run.settings["project"]
    with (run.folder.parent / ".mlflow.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # jobs that start together would all make the tables and the experiment
        known = _known_run(where, project, run.id)
        tags = {TAG: run.id, "group": run.group} | {key: value or "true" for key, _, value in _parts(run.tags)}
        logger = MLFlowLogger(
            tracking_uri=where.uri, experiment_name=project, run_name=run.name, tags=tags, run_id=known
        )
        _ = logger.experiment
    if known is None:
        config = {name: item for name, item in run.config.items() if name != "names"}
        logger.log_hyperparams(dict(run.config["names"]) | _flat(config))
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


def _known_run(where: Store, project: str, run: str) -> str | None:
    """The id of the MLflow run of an earlier start, or None. Makes the experiment if there is none."""
    from mlflow import MlflowClient

    client = MlflowClient(where.uri)
    experiment = client.get_experiment_by_name(project)
    if experiment is None:
        client.create_experiment(project, where.files)
        return None
    found = client.search_runs([experiment.experiment_id], f"tags.`{TAG}` = '{run}'", max_results=1)
    return found[0].info.run_id if found else None


def _parts(tags: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """`model=resnet20` as the parts of MLflow's tag; a tag without a value has an empty one."""
    return (tag.partition("=") for tag in tags)


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """{"recipe.optimizer.lr": value} for nested mappings."""
    if not isinstance(node, Mapping):
        return {prefix: node}
    parts = [_flat(item, f"{prefix}.{name}" if prefix else str(name)) for name, item in node.items()]
    return {key: value for part in parts for key, value in part.items()}
