"""Is the network robust? Adversarial images in an L-infinity ball, made with the gradient of the cross-entropy.

In all functions: logits is a differentiable function from images (B, 3, H, W) in [0, 1] to (B, classes), which
normalises the images itself; labels (B,), int64: the true classes; epsilon: the ball's radius in units of the image,
e.g. 8/255. The result: images in [0, 1] whose pixels differ by at most epsilon from the input's. No parameter's .grad
is changed, and the functions also work inside no_grad and inference_mode. ValueError: images outside [0, 1], a negative
epsilon, steps below 1, a step that is not positive.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from attnlab.data.batches import generator

Logits = Callable[[Tensor], Tensor]


def fgsm(logits: Logits, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """clamp(x + epsilon sign(dL/dx), 0, 1), L the cross-entropy: Goodfellow et al. 2015 (arXiv 1412.6572)."""
    _check(images, epsilon)
    return (images.detach() + epsilon * _gradient_sign(logits, images, labels)).clamp(0, 1)


def pgd(
    logits: Logits,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    steps: int = 10,
    step: float | None = None,
    seed: int = 0,
) -> Tensor:
    """x <- project(x + step sign(dL/dx)), `steps` times, from a uniformly random point of the ball around the images.

    project: into the ball and into [0, 1];  step: None = 2.5 epsilon / steps, so that every point of the ball can be
    reached from every other. The start of an image depends on the seed and on its place in the batch. Madry et al. 2018
    (arXiv 1706.06083).
    """
    _check(images, epsilon)
    if steps < 1 or (step is not None and step <= 0):
        raise ValueError(f"wrong value steps={steps}, step={step}; allowed are steps from 1 and a positive step")
    size = 2.5 * epsilon / steps if step is None else step
    clean = images.detach()
    start = torch.empty(clean.shape, dtype=clean.dtype).uniform_(-epsilon, epsilon, generator=generator(seed))
    found = (clean + start.to(clean.device)).clamp(0, 1)
    for _ in range(steps):
        moved = found + size * _gradient_sign(logits, found, labels)
        found = (clean + (moved - clean).clamp(-epsilon, epsilon)).clamp(0, 1)
    return found


def _gradient_sign(logits: Logits, images: Tensor, labels: Tensor) -> Tensor:
    """sign(dL/dx), (B, 3, H, W)."""
    with torch.inference_mode(False), torch.enable_grad():
        # Clones, since tensors made in inference mode cannot be saved for a backward pass.
        x = images.detach().clone().requires_grad_()
        loss = F.cross_entropy(logits(x), labels.clone(), reduction="sum")  # the factor 1/B of a mean could underflow
        return torch.autograd.grad(loss, x)[0].sign()


def _check(images: Tensor, epsilon: float) -> None:
    if not ((images >= 0) & (images <= 1)).all():
        raise ValueError("images have values outside [0, 1]")
    if not epsilon >= 0:
        raise ValueError(f"wrong value epsilon={epsilon}; allowed is a number from 0")
