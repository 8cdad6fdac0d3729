"""attnlab: the laboratory for attention in CNNs.

cfg = attnlab.config(["attention=cbam", "model=resnet20"])   # composes as the command line does
net = attnlab.build(cfg)                                     # images (B, 3, H, W) -> logits (B, classes)
record = attnlab.train(cfg)                                  # one run, one record
net = attnlab.load(record["id"])                             # the trained network
table = attnlab.load_results("outputs")                      # a DataFrame, a row a run
said = attnlab.load_predictions(record["id"])                # label, predicted, confidence of every test image
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnlab.configuration.compose import config
    from attnlab.models.network import build, load
    from attnlab.records.predictions import load_predictions
    from attnlab.records.record import load_results
    from attnlab.training.classifier import Classifier
    from attnlab.training.train import train

__version__ = "0.1.0"
__all__ = ["Classifier", "build", "config", "load", "load_predictions", "load_results", "train"]

# Names are imported when first used: composing a config, or printing help, must not wait for torch.
_HOME = {
    "Classifier": "attnlab.training.classifier",
    "build": "attnlab.models.network",
    "config": "attnlab.configuration.compose",
    "load": "attnlab.models.network",
    "load_predictions": "attnlab.records.predictions",
    "load_results": "attnlab.records.record",
    "train": "attnlab.training.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'attnlab' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
