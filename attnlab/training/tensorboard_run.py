"""TensorBoard: event files in the run's folder, which `tensorboard --logdir outputs` shows."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

from attnlab.errors import ConfigError
from attnlab.training.tracked_run import TrackedRun


def check(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError if the package is missing."""
    if not find_spec("tensorboard"):
        raise ConfigError("tracker=tensorboard: needs the package tensorboard (attnlab[tensorboard])")


def open_logger(run: TrackedRun) -> TensorBoardLogger:
    """Start the event file."""
    return TensorBoardLogger(run.folder, name=None, version="tensorboard", default_hp_metric=False)


def log_picture(logger: TensorBoardLogger, name: str, path: Path, step: int) -> None:
    """Log a PNG file as an image."""
    import matplotlib.image

    logger.experiment.add_image(name, matplotlib.image.imread(path)[:, :, :3], step, dataformats="HWC")


def close(logger: TensorBoardLogger, exit_code: int, record: Mapping[str, Any] | None) -> None:
    """End the event file."""
    logger.finalize("failed" if exit_code else "success")
