"""Further maps of where a network looks, for attnlab.look: by captum, and by grad-cam (attnlab[cams]).

With y the logit of a class, x the images, A the features of a layer:

ablationcam           relu(sum_k w_k A_k), w_k = (y - y without channel k) / |y|: Desai and Ramaswamy 2020 (WACV), who
                      divide by y, which turns the map round where a logit is negative
occlusion             relu(y - y with a grey square over the place): Zeiler and Fergus 2014 (arXiv 1311.2901)
saliency              max over colours |dy/dx|: Simonyan et al. 2014 (arXiv 1312.6034)
integrated_gradients  |sum over colours of captum's|, from the mean colour: Sundararajan et al. 2017 (arXiv 1703.01365)
gradcam++, layercam, xgradcam, eigencam, scorecam: grad-cam's, each scaled to 0..1 per image
"""

from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from importlib.util import find_spec
from io import StringIO

import torch
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.evaluation.cam_names import BY_GRAD_CAM, DEFAULT_CAMS
from attnlab.evaluation.maps import all_cams, resize

OCCLUDED = 4  # side of an image over the side of the grey square that occludes it, which moves by half its side
STEPS = 32  # of integrated gradients


def attributions(net: nn.Module, x: Tensor, classes: Tensor, layer: str, names: Sequence[str]) -> dict[str, Tensor]:
    """{name: (N, H, W)} on the CPU, of the logits of `classes` (N,), in the order of `names`.

    x (N, 3, H, W): normalised images on the network's device;  layer: of attnlab.evaluation.maps.cam_layer.
    Raises ConfigError if a package is missing.
    """
    found: dict[str, Tensor] = {}
    if set(DEFAULT_CAMS) & set(names):
        found |= all_cams(net, [x], classes, layer)
    for name in names:
        if name in found:
            continue
        if name in BY_GRAD_CAM:
            found[name] = _by_grad_cam(name, net, x, classes, layer)
        else:
            with torch.compiler.set_stance("force_eager"), torch.enable_grad():
                found[name] = resize(BY_CAPTUM[name](net, x.detach(), classes, layer).detach(), _size(x)).cpu()
    return {name: found[name] for name in names}


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[2], x.shape[3]


def _ablationcam(net: nn.Module, x: Tensor, classes: Tensor, layer: str) -> Tensor:
    from captum.attr import LayerActivation, LayerFeatureAblation

    module = net.get_submodule(layer)
    with torch.no_grad():
        features = LayerActivation(net, module).attribute(x)
        logits = net(x).gather(1, classes[:, None])[:, 0]
        channels = torch.arange(features.shape[1], device=x.device)[None, :, None, None].expand(1, *features.shape[1:])
        drops = LayerFeatureAblation(net, module).attribute(x, target=classes, layer_baselines=0, layer_mask=channels)
    weights = drops[:, :, :1, :1] / logits.abs()[:, None, None, None]
    return torch.relu((weights * features).sum(dim=1))


def _occlusion(net: nn.Module, x: Tensor, classes: Tensor, layer: str) -> Tensor:
    from captum.attr import Occlusion

    side = max(1, min(_size(x)) // OCCLUDED)
    step = max(1, side // 2)
    with torch.no_grad():
        drops = Occlusion(net).attribute(
            x, target=classes, sliding_window_shapes=(x.shape[1], side, side), strides=(x.shape[1], step, step)
        )
    return torch.relu(drops.mean(dim=1))


def _saliency(net: nn.Module, x: Tensor, classes: Tensor, layer: str) -> Tensor:
    from captum.attr import Saliency

    return Saliency(net).attribute(x.requires_grad_(), target=classes).amax(dim=1)


def _integrated_gradients(net: nn.Module, x: Tensor, classes: Tensor, layer: str) -> Tensor:
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(net)
    return method.attribute(x, target=classes, n_steps=STEPS, internal_batch_size=4 * len(x)).sum(dim=1).abs()


#: name -> map (N, h, w) of a network, images, classes and a layer
BY_CAPTUM: dict[str, Callable[[nn.Module, Tensor, Tensor, str], Tensor]] = {
    "ablationcam": _ablationcam,
    "occlusion": _occlusion,
    "saliency": _saliency,
    "integrated_gradients": _integrated_gradients,
}


def _by_grad_cam(name: str, net: nn.Module, x: Tensor, classes: Tensor, layer: str) -> Tensor:
    if not find_spec("pytorch_grad_cam"):
        raise ConfigError(f"missing package grad-cam, which cams={name} needs; install attnlab[cams]")
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(int(label)) for label in classes]
    make = getattr(pytorch_grad_cam, BY_GRAD_CAM[name])
    with redirect_stderr(StringIO()), make(model=net, target_layers=[net.get_submodule(layer)]) as cam:  # progress bars
        maps = cam(input_tensor=x.detach().requires_grad_(), targets=targets)
    return torch.from_numpy(maps).float()
