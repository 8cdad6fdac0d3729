"""accelerate(net): give the modules that have a fused form the class of that form."""

import hashlib
import inspect

from torch import nn

from attnlab.machine.kernels import blocks, compile, gates, norms, planes
from attnlab.machine.kernels.fused import Fused

#: class -> its fused form. This room may not import models and attention, so their classes stand here by name.
FORMS: dict[str, type[Fused]] = {
    "torch.nn.modules.batchnorm.BatchNorm2d": norms.BatchNorm,
    "torch.nn.modules.conv.Conv2d": planes.Conv,
    "attnlab.attention.gate.Gate": gates.Gate,
    "attnlab.attention.coordinate.Coordinate": gates.Coordinate,
    "attnlab.models.resnet_cifar.BasicBlock": blocks.BasicBlock,
    "attnlab.models.resnet_cifar.ResNet": blocks.CifarResNet,
    "attnlab.models.resnet.BottleneckBlock": blocks.BottleneckBlock,
    "attnlab.models.resnet.ResNet": blocks.StagedResNet,
    "attnlab.models.preact_resnet.Basic": blocks.PreActBasic,
    "attnlab.models.preact_resnet.Bottleneck": blocks.PreActBottleneck,
    "attnlab.models.preact_resnet.Unit": blocks.PreActUnit,
    "attnlab.models.preact_resnet.PreActResNet": blocks.PreActResNet,
    "attnlab.models.wide_resnet.WideResNet": blocks.PreActResNet,
    "attnlab.models.densenet.Layer": blocks.DenseLayer,
    "attnlab.models.densenet.Transition": blocks.DenseTransition,
    "attnlab.models.densenet.DenseNet": blocks.DenseNet,
    "attnlab.models.mobilenet_v2.InvertedResidual": blocks.InvertedResidual,
    "attnlab.models.mobilenet_v2.MobileNetV2": blocks.MobileNetV2,
    "attnlab.models.vgg.ConvBlock": blocks.VGGBlock,
    "attnlab.models.vgg_ltpa.ConvUnit": blocks.ConvUnit,
    "attnlab.models.timm_blocks.BasicBlock": blocks.TimmBasicBlock,
    "attnlab.models.timm_blocks.Bottleneck": blocks.TimmBottleneck,
}


def accelerate(net: nn.Module) -> None:
    """Exchange the modules of `net` that FORMS knows for their fused forms, in place; leave all others as they are.

    Only the class of a module changes: parameters, buffers, submodules, hooks and state-dict keys stay. A fused form
    runs in training, on bfloat16 maps in channels_last on a CPU, and computes the same up to rounding; it can be
    differentiated once. Everywhere else it calls the forward of the class it replaced. Does nothing without a C
    compiler. The exchanged net can be deep-copied, not pickled.
    """
    if compile.library() is None:
        return
    classes: dict[type, type[Fused] | None] = {}
    for module in net.modules():
        cls = type(module)
        if cls not in classes:
            classes[cls] = fused_class(cls)
        fused = classes[cls]
        if fused is not None and fused.fits(module):
            module.__class__ = fused


def fused_class(cls: type[nn.Module]) -> type[Fused] | None:
    """`cls` behind its fused form; None if it has none, or its forward was edited since the form was written."""
    form = FORMS.get(f"{cls.__module__}.{cls.__qualname__}")
    if form is None or form.replaces != digest(cls):
        return None
    # __module__ is that of `cls`, by which torch.fx knows the layers of torch.nn
    return type(f"Fused{cls.__name__}", (form, cls), {"__module__": cls.__module__})


def digest(cls: type[nn.Module]) -> str | None:
    """Eight hex digits of the SHA-256 of the source of `cls.forward`; None for a forward of PyTorch's own."""
    if cls.forward.__module__.startswith("torch."):
        return None
    try:
        return hashlib.sha256(inspect.getsource(cls.forward).encode()).hexdigest()[:8]
    except OSError:  # installed without sources
        return "unknown"
