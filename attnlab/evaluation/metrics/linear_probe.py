"""How good are the features elsewhere? A linear classifier on them, on a dataset the network never saw.

Jetley et al. 2018 (arXiv 1804.02391), section 5.3, cross-domain classification: features of the trained network,
frozen, and a linear support vector machine; here scikit-learn's, on standardised features, C by three-fold
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
from attnlab.evaluation.mask_recorder import hooked

C = (0.001, 0.01, 0.1)


def features(net: nn.Module, batches: list[Tensor], classes: int) -> np.ndarray:
    """(N, D): what the net's last linear layers, those with an output a class, are given; several are joined."""
    last = [module for module in net.modules() if isinstance(module, nn.Linear) and module.out_features == classes]
    if not last:
        raise ConfigError(f"head: no linear layer with {classes} outputs, whose input the features are")
    rows = []
    for x in batches:
        given: dict[nn.Module, Tensor] = {}

        with torch.no_grad(), hooked(dict.fromkeys(last, partial(_keep, given))):
            net(x)
        rows.append(torch.cat([given[module] for module in last if module in given], dim=1))
    return torch.cat(rows).numpy()


def _keep(given: dict[nn.Module, Tensor], module: nn.Module, inputs: tuple[Tensor, ...], y: Tensor) -> None:
    given[module] = inputs[0].detach().float().flatten(1).cpu()


def linear_error(train: np.ndarray, train_labels: Tensor, test: np.ndarray, test_labels: Tensor) -> Tensor:
    """Wrong (N,) float64, 0 or 1, for each test image, of the support vector machine trained on the others."""
    machine = make_pipeline(StandardScaler(), LinearSVC(dual="auto", max_iter=2000, random_state=0))
    search = GridSearchCV(machine, {"linearsvc__C": C}, cv=3).fit(train, train_labels.numpy())
    return torch.from_numpy((search.predict(test) != test_labels.numpy()).astype(np.float64))
