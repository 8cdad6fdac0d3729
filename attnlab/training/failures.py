"""Errors of torch, Lightning and the disk during training, as messages that name what helps."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from attnlab.errors import TrainingError
from attnlab.machine import hardware
from attnlab.records.agreement import read_reason
from attnlab.records.run_folder import disk_error
from attnlab.training.ddp import RankWatch


@contextmanager
def as_attnlab_errors(values: Mapping[str, Any], rank_watch: RankWatch) -> Iterator[None]:
    """Raise TrainingError for a GPU without memory, a lost rank or a disk error; KeyboardInterrupt for an interrupt."""
    try:
        yield
    except SystemExit as error:  # raised by Lightning after SIGTERM and SIGINT
        raise KeyboardInterrupt from error
    except torch.OutOfMemoryError as error:
        raise TrainingError(hardware.too_little_memory(values, error)) from error
    except RuntimeError as error:
        if reason := rank_watch.reason(error):
            raise TrainingError(read_reason(values["output_dir"]) or reason) from error
        raise
    except OSError as error:
        raise disk_error(error) from error
