"""Mixup and CutMix: each training image is mixed with the one before it in its batch, and so are their labels.

mixup:   x = a x_i + (1 - a) x_j,  y = a y_i + (1 - a) y_j,  a ~ Beta(alpha, alpha), one for a batch
cutmix:  x is x_i with a box of x_j of area 1 - a,  y as above, with the area of the box inside the image
Sources: Zhang et al. 2018, mixup (arXiv 1710.09412); Yun et al. 2019, CutMix (arXiv 1905.04899); torchvision's v2.MixUp
and v2.CutMix, which are used here. Batches are in random order, so the image before is a random one.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from attnlab.data.batches import combined
from attnlab.training.classifier import OFTEN, Classifier

STREAM = 5  # of random numbers; data and training use 1 to 4


class MixingClassifier(Classifier):
    """A Classifier that trains on mixed batches and validates and tests on plain ones.

    mixup, cutmix: alpha of the Beta distribution; None = not used. With both, one of them is drawn for each batch, both
    equally often.  seed: of the run. Draws depend on the seed and the step only, so a resumed run repeats them, and all
    ranks draw the same share and the same box; each rank mixes its own images.
    train/top1_error counts a prediction as right that is the label with the larger share.
    The other arguments: see Classifier.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        classes: int,
        seed: int,
        mixup: float | None = None,
        cutmix: float | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(net, classes=classes, **settings)
        self.seed = seed
        self.kinds: list[v2.Transform] = []
        if mixup is not None:
            self.kinds.append(v2.MixUp(alpha=mixup, num_classes=classes))
        if cutmix is not None:
            self.kinds.append(v2.CutMix(alpha=cutmix, num_classes=classes))

    def mix(self, images: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The mixed images (B, 3, H, W) of a step, and their labels as shares (B, classes), float32."""
        with torch.random.fork_rng(devices=[]):  # dropout draws from the generator as it was
            torch.manual_seed(combined(self.seed, STREAM, step))
            kind = self.kinds[int(torch.randint(len(self.kinds), ()))]
            return kind(images, labels)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """As Classifier's, on mixed images; the cross entropy is that of the shares, smoothed as usual."""
        images, shares = self.mix(*batch, self.global_step)
        logits = self.net(images)
        loss = F.cross_entropy(logits.float(), shares, label_smoothing=self.label_smoothing)
        seen = loss.detach()
        if not self.recent:
            self.recent_from = self.global_step
        self.recent.append((seen, (logits.detach().argmax(dim=1) != shares.argmax(dim=1)).sum(), len(images)))
        if len(self.recent) == OFTEN or (seen.is_cpu and not math.isfinite(seen)):
            self._add_up()
        return loss * self._share(len(images)) if self.trainer.world_size > 1 else loss
