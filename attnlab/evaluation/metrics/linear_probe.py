"""How good are the features on another dataset? The error of a linear classifier on the frozen features.

Jetley et al. 2018 (arXiv 1804.02391), section 5.3, cross-domain classification: a linear support vector machine on the
frozen features of the trained network. Here it is scikit-learn's, on standardised features; C is chosen by three-fold
cross-validation on the new training images.
"""

from functools import partial

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from attnlab.errors import ConfigError
from attnlab.evaluation.mask_recorder import forward_hooks

C_VALUES = (0.001, 0.01, 0.1)


def features(net: nn.Module, batches: list[Tensor], classes: int) -> np.ndarray:
    """(N, D): the inputs of the linear layers that have `classes` outputs; those of several layers are concatenated."""
    last = [module for module in net.modules() if isinstance(module, nn.Linear) and module.out_features == classes]
    if not last:
        raise ConfigError(f"head: no linear layer with {classes} outputs; its input would be the features")
    rows = []
    for x in batches:
        inputs: dict[nn.Module, Tensor] = {}
        with torch.no_grad(), forward_hooks(dict.fromkeys(last, partial(_keep, inputs))):
            net(x)
        rows.append(torch.cat([inputs[module] for module in last if module in inputs], dim=1))
    return torch.cat(rows).numpy()


def _keep(inputs: dict[nn.Module, Tensor], module: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
    inputs[module] = args[0].detach().float().flatten(1).cpu()


def linear_error(train: np.ndarray, train_labels: Tensor, test: np.ndarray, test_labels: Tensor) -> Tensor:
    """Per test image 1 if wrong, else 0, (N,) float64, of a support vector machine fitted to the training features."""
    classifier = make_pipeline(StandardScaler(), LinearSVC(dual="auto", max_iter=2000, random_state=0))
    search = GridSearchCV(classifier, {"linearsvc__C": C_VALUES}, cv=3).fit(train, train_labels.numpy())
    return torch.from_numpy((search.predict(test) != test_labels.numpy()).astype(np.float64))
