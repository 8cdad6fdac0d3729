"""Is the model robust? Adversarial images in the L-infinity ball, by the gradient of the cross-entropy.

Everywhere: logits, images (B, 3, H, W) in [0, 1], not normalised -> (B, classes), differentiable, in the mode in which
it is judged: it normalises by itself; labels (B,), int64: the true classes; epsilon in units of the image, 8/255 say.
Returned are images in [0, 1], no pixel further than epsilon from its own. Gradients are taken with respect to the
images alone: no parameter's .grad is touched; inside no_grad and inference_mode as well. ValueError: images outside of
[0, 1], a negative epsilon, steps below 1, a step that is not positive.
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
    return (images.detach() + epsilon * _uphill(logits, images, labels)).clamp(0, 1)


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
    reached from every other. The start is drawn for the whole batch: an image's own hangs on its place in it. Madry et
    al. 2018 (arXiv 1706.06083).
    """
    _check(images, epsilon)
    if steps < 1 or (step is not None and step <= 0):
        raise ValueError(f"steps={steps}, step={step}: allowed are steps from 1, and a positive step")
    size = 2.5 * epsilon / steps if step is None else step
    clean = images.detach()
    start = torch.empty(clean.shape, dtype=clean.dtype).uniform_(-epsilon, epsilon, generator=generator(seed))
    found = (clean + start.to(clean.device)).clamp(0, 1)
    for _ in range(steps):
        moved = found + size * _uphill(logits, found, labels)
        found = (clean + (moved - clean).clamp(-epsilon, epsilon)).clamp(0, 1)
    return found


def _uphill(logits: Logits, images: Tensor, labels: Tensor) -> Tensor:
    """Sign of the loss's gradient at each pixel."""
    with torch.inference_mode(False), torch.enable_grad():
        # Clones: tensors made in inference mode cannot be saved for a backward pass.
        x = images.detach().clone().requires_grad_()
        loss = F.cross_entropy(logits(x), labels.clone(), reduction="sum")  # of a mean, 1/B could underflow
        return torch.autograd.grad(loss, x)[0].sign()


def _check(images: Tensor, epsilon: float) -> None:
    if not ((images >= 0) & (images <= 1)).all():
        raise ValueError("images: not all values are in [0, 1]")
    if not epsilon >= 0:
        raise ValueError(f"epsilon={epsilon}: allowed are numbers from 0")
