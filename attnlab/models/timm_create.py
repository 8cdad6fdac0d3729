"""Create a CNN of timm without its classifier, with or without trained weights."""

import difflib

import timm
from torch import nn

from attnlab.configuration.messages import unknown_choice, wrong_value
from attnlab.errors import ConfigError
from attnlab.models.weights_file import load_weights

NEAR = 8  # names that a message lists


def create(name: str, *, pretrained: bool, checkpoint: str | None = None, weights: str | None = None) -> nn.Module:
    """timm's own net without its classifier.

    pretrained: load weights, from the file `checkpoint` or else those of timm;  weights: the file's digest.
    Raises ConfigError for a name that timm lacks, for a net that is no CNN, and for weights that cannot be loaded.
    """
    if not timm.is_model(name):
        names = timm.list_models(f"*{str(name)[:6]}*") or timm.list_models("resnet*")
        near = difflib.get_close_matches(str(name), names, n=NEAR, cutoff=0) or names[:NEAR]
        raise ConfigError(unknown_choice("model.name", str(name), near) + ", ... (timm.list_models() lists all)")
    net = timm.create_model(name, num_classes=0)
    if not is_cnn(net) or not hasattr(net, "forward_intermediates"):
        raise ConfigError(wrong_value("model.name", name, "a CNN of timm, as efficientnet_b0"))
    if not pretrained:
        return net
    if checkpoint is not None:
        load_weights(net, checkpoint, weights)
        return net
    try:
        return timm.create_model(name, num_classes=0, pretrained=True)
    except Exception as error:  # of the hub, of its HTTP client, of a file that is cut off
        raise ConfigError(_cannot_load(name, error)) from error


def is_cnn(net: nn.Module) -> bool:
    """Whether a net has more than one convolution larger than 1x1. A transformer has one, which cuts its patches."""
    convs = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    return sum(max(conv.kernel_size) > 1 for conv in convs) > 1


def _cannot_load(name: str, error: Exception) -> str:
    known = timm.get_pretrained_cfg(name)
    if known is None or not (known.hf_hub_id or known.url):
        return f"model.pretrained=true: timm has no weights of model.name={name}; allowed is false"
    if not isinstance(error, OSError):  # what downloads raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"model.pretrained=true: the weights of model.name={name} do not load: {reason}"
    at = known.hf_hub_id or known.url
    return (
        f"model.pretrained=true: the weights of model.name={name} could not be fetched from {at}, and are not in the "
        f"Hugging Face cache ($HF_HOME, else ~/.cache/huggingface). Without network, fetch them where there is one by "
        f"`python -c \"import timm; timm.create_model('{name}', pretrained=True)\"` and copy that cache's "
        f"hub/models--{str(at).replace('/', '--')} here; HF_HUB_OFFLINE=1 then asks nobody. model.pretrained=false "
        f"trains from scratch"
    )
