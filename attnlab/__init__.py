"""attnlab: the laboratory for attention in CNNs.

Train and load:

cfg = attnlab.config(["attention=cbam", "model=resnet20"])   # composes as the command line does
net = attnlab.build(cfg)                                     # images (B, 3, H, W) -> logits (B, classes)
record = attnlab.train(cfg)                                  # one run, one record
net = attnlab.load(record["id"])                             # the trained network; or "last", "attention=se seed=0"
table = attnlab.load_results("outputs")                      # a DataFrame, a row a run, a column a key that varies
epochs = attnlab.load_history(record["id"])                  # a DataFrame, a row an epoch; without an id, of all runs
said = attnlab.load_predictions(record["id"])                # label, predicted, confidence of every test image

Take into a network of your own:

module = attnlab.create_attention("cbam", 64, mask="ignore")   # x (B, 64, H, W) -> y, plain PyTorch
names = attnlab.insert_attention(net, "se", after="layer*.*.bn2", start="identity")   # behind modules of any net
attnlab.remove_attention(net)
with attnlab.record_masks(net) as masks: net(images)           # {gate: its scores z and masks m}
maps = attnlab.mask_maps(net, images)                          # {gate: (B, H, W)}
maps = attnlab.cams(net, images, classes, attnlab.cam_layer(net, images))   # {gradcam, hirescam: (B, H, W)}
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnlab.attention.by_line import create_attention
    from attnlab.configuration.compose import config
    from attnlab.evaluation.maps import cam_layer, cams, mask_maps
    from attnlab.evaluation.mask_recorder import record_masks
    from attnlab.models.insert_attention import insert_attention, remove_attention
    from attnlab.models.network import build
    from attnlab.tables.by_name import load, load_predictions
    from attnlab.tables.frames import load_history, load_results
    from attnlab.training.classifier import Classifier
    from attnlab.training.train import train

__version__ = "0.1.0"
__all__ = [
    "Classifier", "build", "cam_layer", "cams", "config", "create_attention", "insert_attention", "load",
    "load_history", "load_predictions", "load_results", "mask_maps", "record_masks", "remove_attention", "train",
]  # fmt: skip

# Names are imported when first used: composing a config, or printing help, must not wait for torch.
_HOME = {
    "Classifier": "attnlab.training.classifier",
    "build": "attnlab.models.network",
    "cam_layer": "attnlab.evaluation.maps",
    "cams": "attnlab.evaluation.maps",
    "config": "attnlab.configuration.compose",
    "create_attention": "attnlab.attention.by_line",
    "insert_attention": "attnlab.models.insert_attention",
    "load": "attnlab.tables.by_name",
    "load_history": "attnlab.tables.frames",
    "load_predictions": "attnlab.tables.by_name",
    "load_results": "attnlab.tables.frames",
    "mask_maps": "attnlab.evaluation.maps",
    "record_masks": "attnlab.evaluation.mask_recorder",
    "remove_attention": "attnlab.models.insert_attention",
    "train": "attnlab.training.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'attnlab' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
