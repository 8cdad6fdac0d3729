"""Trackers: the destination of a run's curves besides its log.csv. W&B, online or offline, TensorBoard, or none.

A tracker starts and works in its own thread, so neither its start nor a slow server delays a training step. Each run is
a W&B run of its own, whose id is attnlab's run id.
"""

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any, Literal, Self

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from attnlab.configuration.identity import cell
from attnlab.configuration.names import name_of
from attnlab.configuration.secrets import hide
from attnlab.errors import ConfigError
from attnlab.machine.ranks import is_first
from attnlab.records.wandb_import import SUMMARY_KEY

TRACKERS = ("csv", "tensorboard", "wandb")
MODES = ("online", "offline")
START_SECONDS = 30  # that W&B's server has to answer, before the run is kept offline
FINISH_SECONDS = 60  # that it has to receive the rest of a run; W&B's default has no limit


class ThreadedLogger(Logger):
    """A logger that passes every call, in order, to the logger that `opening` gives, in the tracker's thread."""

    def __init__(self, thread: ThreadPoolExecutor, opening: Future[Logger | None]) -> None:
        super().__init__()
        self._thread, self._opening = thread, opening
        self.calls: list[Future[None]] = []

    @property
    def name(self) -> str | None:
        return None

    @property
    def version(self) -> int | str | None:
        return None

    def _later(self, call: Callable[[Logger], None]) -> None:
        def made() -> None:
            logger = self._opening.result()
            if logger is not None:
                call(logger)

        self.calls.append(self._thread.submit(made))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        kept = dict(metrics)
        self._later(lambda logger: logger.log_metrics(kept, step))

    def log_picture(self, name: str, path: Path, step: int) -> None:
        """Log a PNG file beside the curves: as W&B media or as a TensorBoard image."""
        self._later(lambda logger: _log_picture(logger, name, path, step))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the tracker gets the config when it starts."""


def _log_picture(logger: Logger, name: str, path: Path, step: int) -> None:
    if isinstance(logger, WandbLogger):
        logger.log_image(name, [str(path)], step=step)
    elif isinstance(logger, TensorBoardLogger):
        import matplotlib.image

        logger.experiment.add_image(name, matplotlib.image.imread(path)[:, :, :3], step, dataformats="HWC")


class Tracker:
    """Opens the configured tracker in the background and closes it at the end of a `with` block.

    values: the run's config;  run: its id;  config: the part that the tracker stores (no paths);  folder: for its
    files.  record: set it when the run has finished, for attnlab.records.wandb_import.
    Raises ConfigError for an unknown tracker or mode.
    """

    def __init__(self, values: Mapping[str, Any], run: str, config: Mapping[str, Any], folder: Path) -> None:
        self.settings = dict(values["tracker"])
        self.run, self.values, self.config, self.folder = run, values, config, folder
        name, mode = self.settings.get("name"), self.settings.get("mode", "offline")
        if name not in TRACKERS:
            raise ConfigError(f"wrong value tracker.name={name}; allowed are {', '.join(TRACKERS)}")
        if mode not in MODES:
            raise ConfigError(f"wrong value tracker.mode={mode}; allowed are {', '.join(MODES)}")
        if name == "tensorboard" and not find_spec("tensorboard"):
            raise ConfigError("tracker=tensorboard: needs the package tensorboard (attnlab[tensorboard])")
        self.record: Mapping[str, Any] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tracker")
        self._logger: ThreadedLogger | None = None
        if name != "csv" and is_first():
            self._opening = self._thread.submit(self._tensorboard if name == "tensorboard" else self._wandb)
            self._logger = ThreadedLogger(self._thread, self._opening)

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
        """Close the tracker within FINISH_SECONDS. W&B shows a run whose exit code is not 0 as failed.

        record: the content of result.json, stored in W&B; None: the run has no record.
        A failure of the tracker does not fail the run; it is printed in one line.
        """
        if self._logger is not None:
            errors = [self._opening.exception(), *(call.exception() for call in self._logger.calls)]
            if problem := next((error for error in errors if error is not None), None):
                print(f"tracker={self.settings['name']}: {_first_line(problem)}; log.csv has the curves", flush=True)
            if self._opening.exception() is None:
                self._thread.submit(self._close, self._opening.result(), exit_code, record).result()
        self._thread.shutdown()

    def _close(self, logger: Logger | None, exit_code: int, record: Mapping[str, Any] | None) -> None:
        if isinstance(logger, WandbLogger):
            run = logger.experiment
            try:
                if record is not None:
                    run.summary[SUMMARY_KEY] = json.dumps(record, sort_keys=True, allow_nan=False)
                run.finish(exit_code=exit_code)
            except Exception as error:
                later = f"`wandb sync --include-online {run.settings.sync_dir}` sends it later"
                print(f"W&B: the server did not take the whole run ({_first_line(error)}); {later}", flush=True)
        elif logger is not None:
            logger.finalize("failed" if exit_code else "success")

    def _tensorboard(self) -> Logger | None:
        return TensorBoardLogger(self.folder, name=None, version="tensorboard", default_hp_metric=False)

    def _wandb(self) -> Logger | None:
        if self.settings["mode"] == "online":
            reason = _log_in()
            if not reason:
                try:
                    return self._start("online")
                except Exception as error:
                    reason = f"the server cannot be used ({_first_line(error)})"
                    _forget()
            print(f"W&B: {reason}; this run is kept offline", flush=True)
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else W&B's own metrics leave, offline or not
        return self._start("offline")

    def _start(self, mode: Literal["online", "offline"]) -> WandbLogger:
        import wandb

        sections = ("dataset", "model", "attention", "head", "recipe")
        names = {section: name_of(section, self.values[section], self.values) for section in sections}
        tags = [f"{section}={names[section]}"[:64] for section in ("dataset", "model", "attention")]
        tags += [f"table={self.values['table']}"[:64]] if self.values.get("table") else []
        group = f"{' '.join(names[s] for s in ('dataset', 'model', 'attention', 'recipe'))}"[:110]
        run = wandb.init(
            project=self.settings["project"],
            entity=self.settings["entity"],
            id=self.run,
            name=f"{names['attention']} seed={self.values['seed']}"[:120],
            group=f"{group} {cell(self.values)}",
            job_type="train",
            tags=tags + list(self.settings["tags"]),
            config=dict(self.config),
            dir=str(self.folder),
            mode=mode,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=START_SECONDS,
                finish_timeout=FINISH_SECONDS,
                finish_timeout_raises=True,
            ),
        )
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
        return WandbLogger(experiment=run)


def _log_in() -> str:
    """Log in to W&B. Returns why that failed, or an empty text."""
    import wandb

    try:
        return "" if wandb.login(prompt=False) else "no login found (`wandb login`, or WANDB_API_KEY)"
    except Exception as error:
        return f"the server cannot be used ({_first_line(error)})"


def _forget() -> None:
    """Make W&B forget a run that did not start, since it would refuse the run's id as in use.

    In a thread with a limited wait: wandb 0.31's teardown can miss the end of its service and wait for ever.
    """
    import wandb

    thread = Thread(target=wandb.teardown, daemon=True)
    thread.start()
    thread.join(5)


def _first_line(error: BaseException) -> str:
    return hide(str(error).splitlines()[0] if str(error) else type(error).__name__)
