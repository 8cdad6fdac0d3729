"""Would other test images agree? What the predictions of trained nets say, the nets held fixed: by statsmodels.

Every image is a draw from the images that could have been tested. That is another question than the one of
attnlab.tables.statistics, which holds the images fixed and asks whether other trainings would agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from attnlab.errors import ConfigError
from attnlab.records.predictions import Predictions
from attnlab.tables.statistics import ALPHA


@dataclass(frozen=True)
class Interval:
    """A number in percent, or a difference in points, and its 95 % interval over test images; None without spread."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Agreement:
    """Of two nets, mean over pairs, in percent. same: images on which both name one class;  shared: of the images that
    one gets wrong, those that the other gets wrong too;  chance: what `shared` is of nets that err independently."""

    same: float
    shared: float | None
    chance: float


@dataclass(frozen=True)
class McNemar:
    """Images that both, one alone or neither of two nets gets wrong; p: two-sided, exact (binomial)."""

    both: int
    only_first: int
    only_second: int
    neither: int
    p: float


def check_same_images(runs: Sequence[Predictions]) -> None:
    """Raise ConfigError where two runs were not tested on the same images."""
    for other in runs[1:]:
        if other.data_hash != runs[0].data_hash or not np.array_equal(other.label, runs[0].label):
            raise ConfigError(
                f"run={runs[0].run},{other.run}: they saw other images (data_hash {runs[0].data_hash} and "
                f"{other.data_hash}); allowed are runs of the same images"
            )


def wilson(wrong: int, images: int) -> Interval:
    """Error in percent with Wilson's interval (1927, J. Am. Stat. Assoc. 22, 209), which holds for few images too."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(wrong, images, alpha=ALPHA, method="wilson")
    return Interval(100 * wrong / images, 100 * float(low), 100 * float(high))


def difference(row: Sequence[Predictions], baseline: Sequence[Predictions]) -> Interval:
    """Error of the row minus that of the baseline, in points, each the mean over its runs.

    d_i = mean over the row's runs of [image i is wrong] - the same of the baseline's; the mean of d_i over images, and
    its t interval: the images are the sample, the nets are these. Raises ConfigError for runs of other images.
    """
    from statsmodels.stats.weightstats import DescrStatsW

    check_same_images([*row, *baseline])
    mine, theirs = (np.mean([~run.correct for run in runs], axis=0) for runs in (row, baseline))
    d = 100 * (mine - theirs)
    if not np.std(d) > 0:
        return Interval(float(d.mean()))
    low, high = DescrStatsW(d).tconfint_mean(ALPHA)
    return Interval(float(d.mean()), float(low), float(high))


def agreement(runs: Sequence[Predictions]) -> Agreement | None:
    """How alike the runs' errors are; None of fewer than two. Raises ConfigError for runs of other images."""
    if len(runs) < 2:
        return None
    check_same_images(runs)
    same, shared, chance = [], [], []
    for one, other in combinations(runs, 2):
        wrong = ~one.correct, ~other.correct
        same.append(np.mean(one.predicted == other.predicted))
        either = wrong[0].mean() + wrong[1].mean()
        if either:
            shared.append(2 * np.mean(wrong[0] & wrong[1]) / either)
            chance.append(2 * wrong[0].mean() * wrong[1].mean() / either)
    mean = [100 * float(np.mean(found)) if found else None for found in (same, shared, chance)]
    return Agreement(mean[0] or 0.0, mean[1], mean[2] or 0.0)


def mcnemar(first: Predictions, second: Predictions) -> McNemar:
    """McNemar's test (1947, Psychometrika 12, 153): is one of two nets wrong more often than the other?

    Exact: of the images that just one gets wrong, half should be either's. Raises ConfigError for other images.
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    check_same_images([first, second])
    one, other = ~first.correct, ~second.correct
    counts = [[int(np.sum((one == a) & (other == b))) for b in (True, False)] for a in (True, False)]
    p = float(test(counts, exact=True).pvalue)
    return McNemar(counts[0][0], counts[0][1], counts[1][0], counts[1][1], p)


@dataclass(frozen=True)
class Bin:
    """Images whose confidence lies in one of equally wide bins. confidence, accuracy: their means, 0 to 1."""

    images: int
    right: int
    confidence: float

    @property
    def accuracy(self) -> float:
        return self.right / self.images


def bins(run: Predictions, count: int) -> list[Bin | None]:
    """[low, high) in steps of 1 / count, the last with 1; None for one without images."""
    which = np.minimum((run.confidence * count).astype(int), count - 1)
    found: list[Bin | None] = []
    for number in range(count):
        here = which == number
        found.append(
            Bin(int(here.sum()), int(run.correct[here].sum()), float(run.confidence[here].mean()))
            if here.any()
            else None
        )
    return found


def calibration_error(run: Predictions) -> float:
    """ECE, 0 to 1, as the record's test/calibration_error, to 1e-5: torchmetrics', over 15 equally wide bins."""
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    from attnlab.records.predictions import BINS

    confidence, correct = torch.tensor(run.confidence), torch.tensor(run.correct).int()
    return float(binary_calibration_error(confidence, correct, n_bins=BINS, norm="l1"))
