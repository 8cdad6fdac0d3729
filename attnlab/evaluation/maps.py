"""Maps of where a network looks, (B, H, W) at the size of its images: its own masks, and class activation maps (CAMs).

The map of a mask is its mean over the channels; the row and the column mask of one module are multiplied. A channel
mask has no map.
Grad-CAM: relu(sum_k (mean over positions of dy/dA_k) A_k); HiResCAM: relu(sum_k dy/dA_k A_k); A: the deepest features
with at least 4x4 positions, y: the logit of a class.
Source: Selvaraju et al. 2017 (arXiv 1610.02391), section 3; Draelos and Carin 2020 (arXiv 2011.08891), section 3.2.
Both use captum: LayerGradCam, and LayerGradientXActivation summed over k.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.evaluation.mask_recorder import Hook, RecordedMask, forward_hooks, record_masks

with warnings.catch_warnings():  # importing captum in a notebook warns about missing widgets for progress bars
    warnings.filterwarnings("ignore", "IProgress not found")
    from captum.attr import LayerGradCam, LayerGradientXActivation

MIN_SIDE = 4  # positions along each side of the features that a CAM is made of
ROUND_OFF = 1e-5  # relative range below which a map counts as constant
CAMS = ("gradcam", "hirescam")


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, h, w) -> (B, H, W), bilinear. A map that varies by round-off only becomes exactly constant.

    Raises ConfigError for maps that are not finite.
    """
    if not bool(torch.isfinite(maps).all()):
        raise ConfigError("the maps of this run are not finite; check its weights")
    low, high = maps.flatten(1).aminmax(dim=1)
    flat = (high - low) <= ROUND_OFF * torch.maximum(high.abs(), low.abs())
    even = torch.where(flat[:, None, None], low[:, None, None], maps).float()
    found = F.interpolate(even[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    return torch.where(flat[:, None, None], low[:, None, None].float(), found)


def spatial_maps(masks: Mapping[str, RecordedMask], size: tuple[int, int]) -> dict[str, Tensor]:
    """{name: (B, H, W)} of the masks that vary over space; a row and a column mask share their module's name."""
    found: dict[str, Tensor] = {}
    strips: dict[str, list[Tensor]] = {}
    for name, one in masks.items():
        m = one.m.mean(dim=1)
        if one.kind in ("spatial", "both"):
            found[name] = resize(m, size)
        elif one.kind in ("rows", "columns"):
            module = name.rpartition(".")[0]
            found.setdefault(module, torch.empty(0))  # keeps the module's place in the order of the network
            strips.setdefault(module, []).append(resize(m, size))
    for module, both in strips.items():
        found[module] = torch.stack(both).prod(dim=0)
    return found


def mask_maps(net: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """{gate's name: (B, H, W)} of the spatial masks on normalised images (B, 3, H, W); empty if there are none."""
    with torch.no_grad(), record_masks(net) as masks:
        net(images)
    return spatial_maps(masks, (images.shape[2], images.shape[3]))


def cam_layer(net: nn.Module, images: Tensor) -> str:
    """The name of the module whose output a CAM is made of.

    First choice: the module that gives the deepest of the backbone's output features with at least 4x4 positions, or
    the last module before it that runs exactly once in a forward pass. Otherwise: the last module that runs exactly
    once and has an output of at least 4x4 positions. Raises ConfigError if there is none.
    """
    done: list[tuple[str, Tensor]] = []
    backbone = net.get_submodule("backbone") if hasattr(net, "backbone") else net

    def large(x: object) -> bool:
        return isinstance(x, Tensor) and x.dim() == 4 and min(x.shape[2:]) >= MIN_SIDE

    def note(name: str) -> Hook:
        return lambda module, inputs, output: done.append((name, output)) if large(output) else None

    with torch.no_grad(), forward_hooks({module: note(name) for name, module in backbone.named_modules() if name}):
        features = backbone(images[:1])
    runs = Counter(name for name, _ in done)
    if not (once := [name for name, _ in done if runs[name] == 1]):
        raise ConfigError(f"model: no features of {MIN_SIDE}x{MIN_SIDE} positions, which a class activation map needs")
    deepest = [feature for feature in features.values() if large(feature)] if isinstance(features, Mapping) else []
    giving = [number for number, (_, output) in enumerate(done) if deepest and output is deepest[-1]]
    before = [name for name, _ in done[: giving[-1] + 1] if runs[name] == 1] if giving else []
    name = (before or once)[-1]
    return f"backbone.{name}" if hasattr(net, "backbone") else name


def cams(net: nn.Module, images: Tensor, classes: Tensor, layer: str) -> dict[str, Tensor]:
    """{gradcam, hirescam: (B, H, W)} of the logits of `classes` (B,), at least 0. No parameter's .grad is changed."""
    images = images.detach().requires_grad_()
    size = (images.shape[2], images.shape[3])
    module = net.get_submodule(layer)
    with torch.compiler.set_stance("force_eager"), torch.enable_grad():
        grad_cam = LayerGradCam(net, module).attribute(images, classes, relu_attributions=True)
        products = LayerGradientXActivation(net, module).attribute(images, classes)
    hires = torch.relu(products.sum(dim=1))
    return {
        "gradcam": resize(grad_cam[:, 0].detach(), size),
        "hirescam": resize(hires.detach(), size),
    }


def all_mask_maps(net: nn.Module, batches: Sequence[Tensor]) -> dict[str, Tensor]:
    """{gate's name: (N, H, W)}: `mask_maps` of all batches, on the CPU."""
    return _joined(mask_maps(net, x) for x in batches)


def all_cams(net: nn.Module, batches: Sequence[Tensor], classes: Tensor, layer: str) -> dict[str, Tensor]:
    """{gradcam, hirescam: (N, H, W)}: `cams` of all batches for `classes` (N,), on the CPU."""
    parts = classes.split([len(x) for x in batches])
    return _joined(cams(net, x, part, layer) for x, part in zip(batches, parts, strict=True))


def _joined(parts: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    found: dict[str, list[Tensor]] = {}
    for part in parts:
        for name, maps in part.items():
            found.setdefault(name, []).append(maps.cpu())
    return {name: torch.cat(maps) for name, maps in found.items()}
