"""Trackers: the destination of a run's curves besides its log.csv. W&B, TensorBoard, MLflow, or none.

A tracker starts and works in its own thread, so neither its start nor a slow server delays a training step.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from lightning.pytorch.loggers import Logger

from attnlab.configuration.secrets import first_line
from attnlab.errors import ConfigError
from attnlab.machine.ranks import is_first
from attnlab.training import mlflow_run, tensorboard_run, wandb_run
from attnlab.training.threaded_logger import ThreadedLogger
from attnlab.training.tracked_run import tracked_run

#: tracker.kind -> the module that opens, uses and closes it; None: only log.csv
TRACKERS: dict[str, Any] = {"csv": None, "tensorboard": tensorboard_run, "wandb": wandb_run, "mlflow": mlflow_run}


class Tracker:
    """Opens the configured tracker in the background and closes it at the end of a `with` block.

    values: the run's config;  run: its id;  config: the part that the tracker stores (no paths);  folder: for its
    files.  record: set it when the run has finished, for attnlab.records.wandb_import.
    Raises ConfigError for an unknown tracker, a wrong setting, or a missing package.
    """

    def __init__(self, values: Mapping[str, Any], run: str, config: Mapping[str, Any], folder: Path) -> None:
        self.kind = values["tracker"].get("kind", "csv")
        if self.kind not in TRACKERS:
            raise ConfigError(f"wrong value tracker.kind={self.kind}; allowed are {', '.join(TRACKERS)}")
        self.module = TRACKERS[self.kind]
        self.record: Mapping[str, Any] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tracker")
        self._logger: ThreadedLogger | None = None
        if self.module is None:
            return
        self.module.check(values["tracker"])
        if is_first():
            open_logger = self.module.open_logger
            self._opening = self._thread.submit(lambda: open_logger(tracked_run(values, run, config, folder)))
            self._logger = ThreadedLogger(self._thread, self._opening, self.module.log_picture)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self.finish(exit_code=0 if kind is None else 1, record=self.record)

    def wait(self) -> None:
        """Wait until the tracker has started. Call it before processes are forked, e.g. a loader's workers."""
        if self._logger is not None:
            with suppress(Exception):
                self._opening.result()

    def loggers(self) -> list[Logger]:
        """The loggers for the Trainer. A step that logs waits neither for the tracker's start nor for a server."""
        return [self._logger] if self._logger is not None else []

    def finish(self, exit_code: int, record: Mapping[str, Any] | None = None) -> None:
        """Close the tracker; one with a server has a limited time. An exit code other than 0 is a failed run.

        record: the content of result.json, stored by W&B and MLflow; None: the run has no record.
        A failure of the tracker does not fail the run; it is printed in one line.
        """
        if self._logger is not None:
            errors = [self._opening.exception(), *(call.exception() for call in self._logger.calls)]
            if self._opening.exception() is None:
                closing = self._thread.submit(self.module.close, self._opening.result(), exit_code, record)
                errors.append(closing.exception())
            if problem := next((error for error in errors if error is not None), None):
                print(f"tracker={self.kind}: {first_line(problem)}; log.csv has the curves", flush=True)
        self._thread.shutdown()


def tell_sweep(values: Mapping[str, Any], run: str, config: Mapping[str, Any], folder: Path, record: Any) -> None:
    """Send the record of a run that is not trained again to the sweep of W&B's that asked for it, if one did."""
    if values["tracker"].get("kind") != "wandb" or not wandb_run.in_a_sweep() or not is_first():
        return
    with Tracker(values, run, config, folder) as tracker:
        metrics = {name: value for name, value in record["metrics"].items() if value is not None}
        for logger in tracker.loggers():
            logger.log_metrics(metrics, record.get("best_epoch"))
        tracker.record = record
