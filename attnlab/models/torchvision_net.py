"""torchvision's CNNs with our attention at the ends of their blocks: model=torchvision model.name=convnext_tiny.

Differs from torchvision's code in: the auxiliary classifiers of GoogLeNet and Inception are left out.
"""

import difflib
from typing import Any

import torchvision
from torch import nn

from attnlab.configuration.messages import unknown_choice, wrong_value
from attnlab.errors import ConfigError
from attnlab.models.logits_net import LogitsNet
from attnlab.models.slots import Slot, no_attention
from attnlab.models.timm_create import NEAR, is_cnn
from attnlab.models.weights_file import load_weights

#: models with auxiliary classifiers, and how they are built without a warning
AUXILIARY = {"googlenet": {"init_weights": True}, "inception_v3": {"init_weights": True}}


class TorchvisionNet(LogitsNet):
    """Images (B, 3, H, W) -> {last: (B, C, 1, 1)}, the pooled features in front of the classifier.

    name: one of torchvision.models, e.g. resnet18;  pretrained: load weights: torchvision's DEFAULT ones, downloaded
    once to torch's hub cache, or those of the file `checkpoint`;  weights: the file's digest;  after: attention.after.
    Slots: see foreign_places. Raises ConfigError for another name, a net that is no CNN, weights that cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool = False,
        checkpoint: str | None = None,
        weights: str | None = None,
        after: Any = None,
        slot: Slot = no_attention,
    ) -> None:
        net = create(name, pretrained=pretrained, checkpoint=checkpoint, weights=weights)
        super().__init__(net, f"model.name={name}", slot=slot, after=after)


def create(name: str, *, pretrained: bool, checkpoint: str | None, weights: str | None) -> nn.Module:
    """torchvision's net, with its classifier."""
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=NEAR, cutoff=0)
        raise ConfigError(unknown_choice("model.name", str(name), near) + ", ... (torchvision.models lists all)")
    net = torchvision.models.get_model(name, weights=None, **AUXILIARY.get(name, {}))
    if not is_cnn(net):
        raise ConfigError(wrong_value("model.name", name, "a CNN of torchvision, as resnet18"))
    if pretrained and checkpoint is not None:
        load_weights(net, checkpoint, weights)
    elif pretrained:
        try:
            net = torchvision.models.get_model(name, weights="DEFAULT")
        except Exception as error:  # of the download, or of a file that is cut off
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            where = "model.checkpoint=FILE reads a local file, model.pretrained=false trains from scratch"
            raise ConfigError(f"model.pretrained=true: no weights of model.name={name}: {reason}; {where}") from error
    if name in AUXILIARY:
        net.aux_logits = False
        for child in ("aux1", "aux2", "AuxLogits"):
            if hasattr(net, child):
                setattr(net, child, None)
    return net
