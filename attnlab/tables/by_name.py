"""The network and the predictions of a finished run that is named as in run=..."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from attnlab.records import predictions
from attnlab.records.predictions import Predictions
from attnlab.tables.named_run import named_run

if TYPE_CHECKING:
    from torch import nn


def load(run: str, output_dir: str | Path = "outputs") -> "nn.Module":
    """The trained network of a finished run, in eval mode, at the checkpoint that was tested.

    run: an id or its first characters, `last`, the printed name, or values, "attention=se seed=0".
    Raises ConfigError unless exactly one run fits, and if its checkpoint is missing, damaged, or not the one of the
    record. Warns (OtherCode) if the run was trained by code that has changed since.
    """
    from attnlab.models import network  # imports torch

    name = named_run(run, output_dir)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        net = network.load(name, output_dir)
    for one in found:  # once more, so that they name the caller's line
        warnings.warn(one.message, stacklevel=2)
    return net


def load_predictions(run: str, output_dir: str | Path = "outputs") -> Predictions:
    """The predictions of a finished run, named as for `load`.

    label, predicted, confidence, correct: arrays (N,), one element a test image, in the order of the test set;
    `.frame()` is the same as a pandas DataFrame. Raises ConfigError unless exactly one run fits, for a run that was
    recorded without predictions, or whose file is not the one that was written with its record.
    """
    return predictions.load_predictions(named_run(run, output_dir), output_dir)
