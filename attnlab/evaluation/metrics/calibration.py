"""Are the predicted probabilities right? Expected calibration error and negative log-likelihood.

ECE = sum_b n_b / N |accuracy_b - confidence_b| over 15 bins of confidence (Guo et al. 2017, arXiv 1706.04599, section
2), computed by torchmetrics; NLL = mean of -log p(label), in nats.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from attnlab.data.batches import generator
from attnlab.records.predictions import BINS


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """ECE in [0, 1] of probabilities (N, classes) and labels (N,)."""
    classes = probabilities.shape[1]
    return float(multiclass_calibration_error(probabilities, labels, classes, n_bins=BINS, norm="l1"))


def calibration_noise(probabilities: Tensor, draws: int = 50, seed: int = 0) -> float:
    """The mean ECE of a perfectly calibrated network on N images: labels are drawn from probabilities (N, classes)."""
    random = generator(seed, 8)
    cpu = probabilities.cpu()
    errors = [calibration_error(cpu, torch.multinomial(cpu, 1, generator=random)[:, 0]) for _ in range(draws)]
    return sum(errors) / draws


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float:
    """Mean -log p(label) in nats, of logits (N, classes)."""
    return float(F.cross_entropy(logits, labels))
