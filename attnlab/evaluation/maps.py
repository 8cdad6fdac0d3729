"""Maps: where a network looks, (B, H, W) at the size of its images: by its own masks, and post hoc by its gradients.

A map of a mask is its mean over the channels; rows and columns of one module are multiplied. A channel mask has none.
Grad-CAM: relu(sum_k (mean over positions of dy/dA_k) A_k); HiResCAM: relu(sum_k dy/dA_k A_k); A the deepest features of
at least 4x4 positions, y the logit of a class.
Source: Selvaraju et al. 2017 (arXiv 1610.02391), section 3; Draelos and Carin 2020 (arXiv 2011.08891), section 3.2.
Both are captum's: LayerGradCam, and LayerGradientXActivation summed over k.
"""

import warnings
from collections import Counter
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.evaluation.mask_recorder import Hook, Seen, hooked, record

with warnings.catch_warnings():  # in a notebook its import asks for the widgets of progress bars, which nobody sees
    warnings.filterwarnings("ignore", "IProgress not found")
    from captum.attr import LayerGradCam, LayerGradientXActivation

LEAST = 4  # positions along each side of the features that a CAM is made of
ROUND_OFF = 1e-5
CAMS = ("gradcam", "hirescam")


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h, w) -> (B, H, W), bilinear. A map that varies by round-off alone becomes constant.

    Raises ConfigError for maps that are not finite.
    """
    if not bool(torch.isfinite(maps).all()):
        raise ConfigError("run: its maps are not finite; were its weights?")
    low, high = maps.flatten(1).aminmax(dim=1)
    flat = (high - low) <= ROUND_OFF * torch.maximum(high.abs(), low.abs())
    even = torch.where(flat[:, None, None], low[:, None, None], maps).float()
    found = F.interpolate(even[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    return torch.where(flat[:, None, None], low[:, None, None].float(), found)


def spatial_maps(seen: Mapping[str, Seen], size: tuple[int, int]) -> dict[str, Tensor]:
    """{gate's name: (B, H, W)} of the masks that vary over space; rows and columns together: the module's name."""
    found: dict[str, Tensor] = {}
    strips: dict[str, list[Tensor]] = {}
    for name, one in seen.items():
        m = one.m.mean(dim=1)
        if one.kind in ("spatial", "both"):
            found[name] = resized(m, size)
        elif one.kind in ("rows", "columns"):
            module = name.rpartition(".")[0]
            found.setdefault(module, torch.empty(0))  # its place among the others
            strips.setdefault(module, []).append(resized(m, size))
    for module, both in strips.items():
        found[module] = torch.stack(both).prod(dim=0)
    return found


def mask_maps(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """{gate's name: (B, H, W)} of the network's own masks on normalised images (B, 3, H, W); empty if it has none."""
    with torch.no_grad(), record(net) as seen:
        net(images)
    return spatial_maps(seen, (images.shape[2], images.shape[3]))


def cam_layer(net: nn.Module, images: Tensor) -> str:
    """The name of the module whose output a CAM is made of.

    It gives the deepest of the backbone's features, as its head sees them, that has 4x4 positions, or runs last before
    these; a module that runs twice in a forward pass does not count. Where none does: the last one to finish with so
    many positions. Raises ConfigError when there is none.
    """
    done: list[tuple[str, Tensor]] = []
    backbone = net.get_submodule("backbone") if hasattr(net, "backbone") else net

    def large(x: object) -> bool:
        return isinstance(x, Tensor) and x.dim() == 4 and min(x.shape[2:]) >= LEAST

    def note(name: str) -> Hook:
        return lambda module, given, output: done.append((name, output)) if large(output) else None

    with torch.no_grad(), hooked({module: note(name) for name, module in backbone.named_modules() if name}):
        features = backbone(images[:1])
    ran = Counter(name for name, _ in done)
    if not (once := [name for name, _ in done if ran[name] == 1]):
        raise ConfigError(f"model: no features of {LEAST}x{LEAST} positions, which a class activation map needs")
    deepest = [feature for feature in features.values() if large(feature)] if isinstance(features, Mapping) else []
    giving = [number for number, (_, output) in enumerate(done) if deepest and output is deepest[-1]]
    before = [name for name, _ in done[: giving[-1] + 1] if ran[name] == 1] if giving else []
    name = (before or once)[-1]
    return f"backbone.{name}" if hasattr(net, "backbone") else name


def cams(net: nn.Module, images: Tensor, classes: Tensor, layer: str) -> dict[str, Tensor]:
    """{gradcam, hirescam: (B, H, W)} of the logits of `classes` (B,), at least 0. No parameter's .grad is touched."""
    images = images.detach().requires_grad_()
    size = (images.shape[2], images.shape[3])
    module = net.get_submodule(layer)
    with torch.compiler.set_stance("force_eager"), torch.enable_grad():
        grad_cam = LayerGradCam(net, module).attribute(images, classes, relu_attributions=True)
        products = LayerGradientXActivation(net, module).attribute(images, classes)
    hires = torch.relu(products.sum(dim=1))
    return {
        "gradcam": resized(grad_cam[:, 0].detach(), size),
        "hirescam": resized(hires.detach(), size),
    }
