"""W&B, online or offline: a run of W&B's for each run. Without a login or a connection the run is kept offline.

In a sweep of W&B's (`wandb agent`) the run is the one that the sweep has made, under its id and in its project.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any, Literal

from lightning.pytorch.loggers import WandbLogger

from attnlab.configuration.secrets import first_line
from attnlab.errors import ConfigError
from attnlab.records.wandb_import import NESTED_KEY, TEXT_KEY
from attnlab.training.tracked_run import TrackedRun

MODES = ("online", "offline")
START_SECONDS = 30  # that W&B's server has to answer, before the run is kept offline
FINISH_SECONDS = 60  # that it has to receive the rest of a run; W&B's default has no limit
#: parts of a record that its W&B summary does not show: W&B's config has the first, and the digests are for programs
NOT_SHOWN = ("config", "code")


def check(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError for an unknown mode."""
    mode = settings.get("mode", "offline")
    if mode not in MODES:
        raise ConfigError(f"wrong value tracker.mode={mode}; allowed are {', '.join(MODES)}")


def in_a_sweep() -> bool:
    """Whether `wandb agent` started this process."""
    return bool(os.environ.get("WANDB_SWEEP_ID"))


def open_logger(run: TrackedRun) -> WandbLogger:
    """Start W&B's run."""
    if is_online(run.settings):
        try:
            return _start(run, "online")
        except Exception as error:
            print(f"W&B: the server cannot be used ({first_line(error)}); this run is kept offline", flush=True)
            _forget()
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    return _start(run, "offline")


def is_online(settings: Mapping[str, Any]) -> bool:
    """Whether the mode is online, and a login is found; a line says if it is not."""
    reason = _log_in() if settings["mode"] == "online" else ""
    if reason:
        print(f"W&B: {reason}; this run is kept offline", flush=True)
    if reason or settings["mode"] != "online":
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else W&B's own metrics leave, offline or not
        return False
    return True


def log_picture(logger: WandbLogger, name: str, path: Path, step: int) -> None:
    """Log a PNG file as W&B media."""
    logger.log_image(name, [str(path)], step=step)


def close(logger: WandbLogger, exit_code: int, record: Mapping[str, Any] | None) -> None:
    """Put the record into the summary and end the run; an exit code other than 0 is shown as failed.

    The summary has the record twice, see attnlab.records.wandb_import.
    """
    run = logger.experiment
    try:
        if record is not None:
            run.summary[NESTED_KEY] = {key: value for key, value in record.items() if key not in NOT_SHOWN}
            run.summary[TEXT_KEY] = json.dumps(record, sort_keys=True, allow_nan=False)
        run.finish(exit_code=exit_code)
    except Exception as error:
        later = f"`wandb sync --include-online {run.settings.sync_dir}` sends it later"
        print(f"W&B: the server did not take the whole run ({first_line(error)}); {later}", flush=True)


def _start(run: TrackedRun, mode: Literal["online", "offline"]) -> WandbLogger:
    import wandb

    where = {"project": run.settings["project"], "entity": run.settings["entity"], "id": run.id}
    started = wandb.init(
        **({} if in_a_sweep() else where),
        name=run.name,
        group=run.group,
        job_type="train",
        tags=run.tags,
        config=dict(run.config),
        dir=str(run.folder),
        mode=mode,
        resume="allow",
        reinit="create_new",
        settings=settings(),
    )
    started.define_metric("trainer/global_step")
    started.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WandbLogger(experiment=started)


def settings() -> Any:
    """W&B's settings: silent, and with limited waits."""
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        init_timeout=START_SECONDS,
        finish_timeout=FINISH_SECONDS,
        finish_timeout_raises=True,
    )


def _log_in() -> str:
    """Log in to W&B. Returns why that failed, or an empty text."""
    import wandb

    try:
        return "" if wandb.login(prompt=False) else "no login found (`wandb login`, or WANDB_API_KEY)"
    except Exception as error:
        return f"the server cannot be used ({first_line(error)})"


def _forget() -> None:
    """Make W&B forget a run that did not start, since it would refuse the run's id as in use.

    In a thread with a limited wait: wandb 0.31's teardown can miss the end of its service and wait for ever.
    """
    import wandb

    thread = Thread(target=wandb.teardown, daemon=True)
    thread.start()
    thread.join(5)
