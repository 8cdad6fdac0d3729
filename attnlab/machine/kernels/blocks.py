"""The fused forms of the backbones' blocks: their forwards with each BN joined to what follows it (norms.py).

Each form repeats the forward of the block that accelerate.FORMS names, and no more. `replaces` is the digest of that
forward: a block whose forward was edited stays plain, and tests/machine/test_accelerate.py asks for the new form.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.machine.kernels.fused import Fused, watched
from attnlab.machine.kernels.norms import attend, is_nothing, norm_act, norm_gate, norm_gate_add_relu, norm_relu


class BasicBlock(Fused):
    """models.resnet_cifar.BasicBlock."""

    replaces = "7b7c36bb"

    def fused(self, x: Tensor) -> Tensor:
        y = self.at_inner(norm_relu(self.norm1, self.conv1(self.at_kernel(self.at_pre(x)))))
        y, shortcut = self.at_conv(self.conv2(y)), self.at_shortcut(self.shortcut(x))
        return self.at_post(norm_gate_add_relu(self.at_branch, self.norm2, y, x, shortcut))


class CifarResNet(Fused):
    """models.resnet_cifar.ResNet."""

    replaces = "1f9f8eda"

    def fused(self, x: Tensor) -> dict[str, Tensor]:
        x = norm_relu(self.norm, self.conv(x))
        stage1 = self.at_stage1(self.stage1(x))
        stage2 = self.at_stage2(self.stage2(stage1))
        return {"stage1": stage1, "stage2": stage2, "stage3": self.stage3(stage2)}


class BottleneckBlock(Fused):
    """models.resnet.BottleneckBlock."""

    replaces = "1c4b324a"

    def fused(self, x: Tensor) -> Tensor:
        y = norm_relu(self.norm1, self.conv1(self.at_pre(x)))
        y = self.at_inner(norm_relu(self.norm2, self.at_conv(self.conv2(self.at_kernel(y)))))
        y, shortcut = self.conv3(y), self.at_shortcut(self.shortcut(x))
        return self.at_post(norm_gate_add_relu(self.at_branch, self.norm3, y, x, shortcut))


class StagedResNet(Fused):
    """models.resnet.ResNet."""

    replaces = "09867a21"

    def fused(self, x: Tensor) -> dict[str, Tensor]:
        x = norm_relu(self.norm, self.conv(x))
        features = {}
        for name, stage in self.stages.items():
            features[name] = x = stage(x)
        return features


class PreActBasic(Fused):
    """models.preact_resnet.Basic."""

    replaces = "20f95597"

    def fused(self, x: Tensor) -> Tensor:
        y = self.at_inner(norm_relu(self.norm, self.conv1(self.at_kernel(x))))
        return self.at_conv(self.conv2(self.dropout(y)))


class PreActBottleneck(Fused):
    """models.preact_resnet.Bottleneck."""

    replaces = "1b103142"

    def fused(self, x: Tensor) -> Tensor:
        y = norm_relu(self.norm1, self.conv1(x))
        y = self.at_inner(norm_relu(self.norm2, self.at_conv(self.conv2(self.at_kernel(y)))))
        return self.conv3(self.dropout(y))


class PreActUnit(Fused):
    """models.preact_resnet.Unit."""

    replaces = "bbec9953"

    def fused(self, x: Tensor) -> Tensor:
        a = norm_relu(self.norm, x)
        y = attend(self.at_branch, self.branch(self.at_pre(a)), x)
        straight = x if self.shortcut is None else self.shortcut(x if self.raw else a)
        return self.at_post(y + self.at_shortcut(straight))


class PreActResNet(Fused):
    """models.preact_resnet.PreActResNet and models.wide_resnet.WideResNet."""

    replaces = "0d0c1dfe"

    def fused(self, x: Tensor) -> dict[str, Tensor]:
        x = self.conv(x)
        features = {}
        for name, stage in self.stages.items():
            features[name] = x = stage(x)
        if self.norm is not None:
            features[self.last] = norm_relu(self.norm, x)
        return features


class DenseLayer(Fused):
    """models.densenet.Layer."""

    replaces = "5d3b9273"

    def fused(self, x: Tensor) -> Tensor:
        y = self.conv1(self.at_pre(norm_relu(self.norm1, x)))
        y = self.at_conv(self.conv2(self.at_inner(norm_relu(self.norm2, y))))
        return torch.cat([x, y], dim=1)


class DenseTransition(Fused):
    """models.densenet.Transition."""

    replaces = "31367403"

    def fused(self, x: Tensor) -> Tensor:
        y = self.conv(norm_relu(self.norm, x))
        return self.at_transition(F.avg_pool2d(y, 2, ceil_mode=True))


class DenseNet(Fused):
    """models.densenet.DenseNet."""

    replaces = "29de1e68"

    def fused(self, x: Tensor) -> dict[str, Tensor]:
        x = self.conv(x)
        features = {}
        for name, stage in self.stages.items():
            features[name] = x = stage(x)
        return features | {name: norm_relu(self.norm, x)}


class InvertedResidual(Fused):
    """models.mobilenet_v2.InvertedResidual."""

    replaces = "bb125ad5"

    def fused(self, x: Tensor) -> Tensor:
        y = norm_relu(self.norm1, self.conv1(self.at_pre(x)))
        y = self.at_inner(norm_relu(self.norm2, self.at_conv(self.conv2(self.at_kernel(y)))))
        y = norm_gate(self.at_branch, self.norm3, self.conv3(y), x)
        return self.at_post(y + self.at_shortcut(self.shortcut(x)) if self.adds else y)


class MobileNetV2(Fused):
    """models.mobilenet_v2.MobileNetV2."""

    replaces = "be2a7236"

    def fused(self, x: Tensor) -> dict[str, Tensor]:
        x = norm_relu(self.norm, self.conv(x))
        features = {}
        for name, stage in self.stages.items():
            features[name] = x = stage(x)
        return features | {name: norm_relu(self.last_norm, self.last_conv(x))}


class VGGBlock(Fused):
    """models.vgg.ConvBlock."""

    replaces = "47f3ddf1"

    def fused(self, x: Tensor) -> Tensor:
        return self.at_post(norm_relu(self.norm, self.at_conv(self.conv(self.at_kernel(x)))))


class ConvUnit(Fused):
    """models.vgg_ltpa.ConvUnit, whose forward is that of nn.Sequential."""

    def fused(self, x: Tensor) -> Tensor:
        layers = iter(self.children())
        for layer in layers:
            x = norm_act(layer, next(layers), x) if layer is self.norm else layer(x)
        return x


def _norm_drop_act(norm: nn.Module, drop: nn.Module, act: nn.Module, x: Tensor) -> Tensor:
    return norm_act(norm, act, x) if is_nothing(drop) else act(drop(norm(x)))


class _TimmBlock(Fused):
    def end(self, norm: nn.Module, act: nn.Module, y: Tensor, x: Tensor) -> Tensor:
        """act(attention(norm(y)) + shortcut)."""
        shortcut = self.at_shortcut(self.downsample(x))
        if type(act) is nn.ReLU and not watched(act) and is_nothing(self.se) and is_nothing(self.drop_path):
            return self.at_post(norm_gate_add_relu(self.at_branch, norm, y, x, shortcut))
        y = attend(self.at_branch, self.se(norm(y)), x)
        return self.at_post(act(self.drop_path(y) + shortcut))


class TimmBasicBlock(_TimmBlock):
    """models.timm_blocks.BasicBlock."""

    replaces = "82471c1f"

    def fused(self, x: Tensor) -> Tensor:
        y = _norm_drop_act(self.bn1, self.drop_block, self.act1, self.conv1(self.at_kernel(self.at_pre(x))))
        y = self.at_conv(self.conv2(self.at_inner(self.aa(y))))
        return self.end(self.bn2, self.act2, y, x)


class TimmBottleneck(_TimmBlock):
    """models.timm_blocks.Bottleneck."""

    replaces = "97e35b79"

    def fused(self, x: Tensor) -> Tensor:
        y = norm_act(self.bn1, self.act1, self.conv1(self.at_pre(x)))
        y = _norm_drop_act(self.bn2, self.drop_block, self.act2, self.at_conv(self.conv2(self.at_kernel(y))))
        return self.end(self.bn3, self.act3, self.conv3(self.at_inner(self.aa(y))), x)
