"""Statistics over test images: would other test images agree, for these trained nets? By statsmodels.

The test images are treated as a sample of the images that could have been tested, and the nets as fixed.
attnlab.tables.statistics does the opposite: it treats the images as fixed and the trainings as the sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from attnlab.errors import ConfigError
from attnlab.records.predictions import Predictions
from attnlab.tables.power_analysis import ALPHA


@dataclass(frozen=True)
class Interval:
    """A percentage, or a difference in points, with its 95 % interval over test images; None if there is no spread."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Agreement:
    """How alike two nets predict, in percent, mean over pairs of nets.

    same: images on which both predict one class;  shared: of the images that one net gets wrong, those that the other
    gets wrong too (Dice coefficient), None without errors;  chance: `shared` if the nets erred independently.
    """

    same: float
    shared: float | None
    chance: float


@dataclass(frozen=True)
class McNemar:
    """How many images both, only one or neither of two nets gets wrong; p: two-sided, exact (binomial)."""

    both: int
    only_first: int
    only_second: int
    neither: int
    p: float


def check_same_images(runs: Sequence[Predictions]) -> None:
    """Raise ConfigError if two runs were not tested on the same images."""
    for other in runs[1:]:
        if other.data_hash != runs[0].data_hash or not np.array_equal(other.label, runs[0].label):
            raise ConfigError(
                f"run={runs[0].run},{other.run}: different test images (data_hash {runs[0].data_hash} and "
                f"{other.data_hash}); allowed are runs of the same images"
            )


def wilson(wrong: int, images: int) -> Interval:
    """Error in percent with Wilson's interval (1927, J. Am. Stat. Assoc. 22, 209), valid for few images too."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(wrong, images, alpha=ALPHA, method="wilson")
    return Interval(100 * wrong / images, 100 * float(low), 100 * float(high))


def difference(row: Sequence[Predictions], baseline: Sequence[Predictions]) -> Interval:
    """Error of the row minus error of the baseline, in points, each the mean over its runs, with a t interval.

    d_i = mean over the row's runs of [image i is wrong] - the same for the baseline's runs. Returns the mean of d_i
    over images and its interval: the images are the sample, the nets are fixed. Raises ConfigError if images differ.
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
    """How alike the runs predict; None for fewer than two runs. Raises ConfigError for different images."""
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

    Exact: of the images that exactly one net gets wrong, each net should have half. Raises ConfigError for different
    images.
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    check_same_images([first, second])
    one, other = ~first.correct, ~second.correct
    counts = [[int(np.sum((one == a) & (other == b))) for b in (True, False)] for a in (True, False)]
    p = float(test(counts, exact=True).pvalue)
    return McNemar(counts[0][0], counts[0][1], counts[1][0], counts[1][1], p)


@dataclass(frozen=True)
class Bin:
    """The images whose confidence lies in one bin. confidence, accuracy: their means, 0 to 1."""

    images: int
    right: int
    confidence: float

    @property
    def accuracy(self) -> float:
        return self.right / self.images


def bins(run: Predictions, count: int) -> list[Bin | None]:
    """`count` equally wide bins [low, high), the last including 1; None for a bin without images."""
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
    """ECE, 0 to 1, by torchmetrics over 15 equally wide bins; equals the record's test/calibration_error to 1e-5."""
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    from attnlab.records.predictions import BINS

    confidence, correct = torch.tensor(run.confidence), torch.tensor(run.correct).int()
    return float(binary_calibration_error(confidence, correct, n_bins=BINS, norm="l1"))
