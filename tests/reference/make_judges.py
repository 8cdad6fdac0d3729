"""Makes golden/judges.npz: what quantus, pytorch-grad-cam and torchattacks say of small fixed inputs.

    python make_judges.py

In an environment of its own, with the repository on PYTHONPATH: Python 3.11, torch==2.13.0, numpy==2.4.6,
quantus==0.6.0 (LGPL: run here, no part of this repository), grad-cam==1.5.7, torchattacks==3.5.1. The tests of the
judges import the inputs and the network from here, never those packages: only make() does.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rule import values
from torch import Tensor, nn

GOLDEN = Path(__file__).parent.parent / "golden" / "judges.npz"
SHAPE = (4, 3, 9, 11)
CLASSES = (3, 2, 0, 4)
#: pixels that quantus flips at once, all channels of each: 9 steps
FLIPPED = 11
#: of pytorch-grad-cam: the pixels of the map below it stay
PERCENTILES = (30, 80, 95)
EPSILON = 0.1


def inputs() -> dict[str, Tensor]:
    """images (normalised), maps (no ties, the lowest 0), masks, classes, pixels (images in [0, 1]); float64."""
    images, maps = (torch.from_numpy(values("input", shape)) for shape in (SHAPE, (SHAPE[0], *SHAPE[2:])))
    masks = torch.zeros(maps.shape, dtype=torch.bool)
    for number, (y, x) in enumerate(((0, 0), (2, 5), (4, 1), (1, 3))):
        masks[number, y : y + 3 + number, x : x + 5] = True
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    maps = (maps - low) / (high - low)
    maps[2][masks[2]] += 1  # two that point at the object, two that do not
    maps[1][masks[1]] += 1
    return {
        "images": images,
        "maps": maps,
        "masks": masks,
        "classes": torch.tensor(CLASSES),
        "pixels": (images / 4 + 0.5).clamp(0, 1),
    }


def network() -> nn.Sequential:
    """Images (B, 3, 9, 11) -> logits (B, 5), float64, weights by the rule."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(SHAPE[1] * 99, 16), nn.Tanh(), nn.Linear(16, 5)).double().eval()
    for name, tensor in net.state_dict().items():
        tensor.copy_(torch.from_numpy(values(name, tuple(tensor.shape))) * (3 if name.endswith("weight") else 1))
    return net


def by_quantus() -> dict[str, Any]:
    """Its pointing game and relevance mass; the probabilities after each of pixel flipping's steps, (N, 9)."""
    import quantus

    given = {name: tensor.numpy() for name, tensor in inputs().items()}
    call = {
        "model": network().float(),
        "x_batch": given["images"].astype(np.float32),
        "y_batch": given["classes"],
        "a_batch": given["maps"][:, None],
        "device": "cpu",
    }
    plain = {"normalise": False, "abs": False, "disable_warnings": True}
    masks = given["masks"][:, None]
    flipping = quantus.PixelFlipping(features_in_step=FLIPPED * SHAPE[1], perturb_baseline=0.0, **plain)
    return {
        "quantus/pointing": quantus.PointingGame(**plain)(s_batch=masks, **call),
        "quantus/mass": quantus.RelevanceMassAccuracy(**plain)(s_batch=masks, **call),
        "quantus/flipping": flipping(softmax=True, **call),
    }


def by_grad_cam() -> dict[str, Any]:
    """ROAD without noise: the imputed images, and the probabilities of the classes on them."""
    from pytorch_grad_cam.metrics.perturbation_confidence import (
        PerturbationConfidenceMetric,
        RemoveLeastRelevantFirst,
        RemoveMostRelevantFirst,
    )
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    given = inputs()
    targets = [ClassifierOutputSoftmaxTarget(label) for label in CLASSES]
    found = {}
    for name, remove in (("morf", RemoveMostRelevantFirst), ("lerf", RemoveLeastRelevantFirst)):
        for percentile in PERCENTILES:
            metric = PerturbationConfidenceMetric(remove(percentile, NoisyLinearImputer(noise=0)))
            scores, images = metric(
                given["images"].float(),
                given["maps"].numpy(),
                targets,
                network().float(),
                return_visualization=True,
                return_diff=False,
            )
            found[f"grad_cam/{name}_{percentile}/images"] = images.numpy()
            found[f"grad_cam/{name}_{percentile}/probabilities"] = scores
    return found


def by_torchattacks() -> dict[str, Any]:
    """Adversarial images of FGSM and of PGD, whose start is drawn as ours: by seed 0 of attnlab."""
    import torchattacks

    from attnlab.data.batches import generator

    given, net = inputs(), network()
    torch.manual_seed(generator(0).initial_seed())
    pgd = torchattacks.PGD(net, eps=EPSILON, alpha=EPSILON / 4, steps=10)(given["pixels"], given["classes"])
    fgsm = torchattacks.FGSM(net, eps=EPSILON)(given["pixels"], given["classes"])
    return {"torchattacks/pgd": pgd.numpy(), "torchattacks/fgsm": fgsm.numpy()}


def make() -> None:
    """Write the file."""
    from importlib.metadata import version

    arrays = {name: np.asarray(array) for name, array in (by_quantus() | by_grad_cam() | by_torchattacks()).items()}
    packages = ("quantus", "grad-cam", "torchattacks", "torch", "numpy", "scipy")
    facts = {"versions": {name: version(name) for name in packages}, "input_head": values("input", (3,)).tolist()}
    np.savez_compressed(GOLDEN, about=np.array(json.dumps(facts)), **arrays)
    print(f"{GOLDEN.name} {GOLDEN.stat().st_size} bytes")
    for name, array in arrays.items():
        print(f"{name:36} {array.shape} {array.dtype}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    make()
