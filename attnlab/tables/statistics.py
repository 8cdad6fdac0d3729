"""Is a difference more than chance, or shown to be small? Paired and Welch's t, TOST, Holm: scipy and statsmodels.

Each number is of one run (test error in percent, say), one run a seed; a difference is row minus baseline.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.tables.power_analysis import ALPHA, Design, detectable_effect, paired_design, unpaired_design

#: level of the interval around the detectable difference
CONFIDENCE = 0.90
#: the fewest pairs for which Wilcoxon's signed-rank test can reach 5 % (at n = 5 its smallest p is 6.25 %)
WILCOXON_FROM = 6
#: a smaller standard deviation is rounding error: the runs are equal
SMALLEST_SD = 1e-9


@dataclass(frozen=True)
class Difference:
    """A row against its baseline.

    n: pairs, or runs of the row (n_baseline: of the baseline);  mean, low, high: row minus baseline with its 95 %
    interval;  sd: of the paired differences, or of one run (pooled);  p: two-sided, of the paired t test or Welch's;
    wilcoxon: p of the signed-rank test;  p_equivalent: p of two one-sided tests against a margin, if one was given.
    All but n and mean are None where there are too few runs, or where all differences are equal and so have no spread.
    """

    paired: bool
    n: int
    n_baseline: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    wilcoxon: float | None = None
    p_equivalent: float | None = None

    @property
    def _design(self) -> Design:
        return paired_design(self.n) if self.paired else unpaired_design(self.n, self.n_baseline)

    def detectable(self, comparisons: int = 1) -> float | None:
        """The difference that this many runs with this spread find with 80 % power at 5 % / comparisons.

        5 % / comparisons is Holm's first and strictest step.
        """
        return None if self.sd is None else self.sd * detectable_effect(self._design, ALPHA / comparisons)

    def detectable_range(self, comparisons: int = 1) -> tuple[float, float] | None:
        """The 90 % interval of `detectable`, which is a multiple of the sd and as uncertain as the sd.

        df sd^2 / sigma^2 follows chi-square with df degrees of freedom if differences are normal and, for independent
        runs, if row and baseline have the same variance.
        """
        from scipy import stats

        estimate = self.detectable(comparisons)
        if estimate is None:
            return None
        df = self._design.df
        low, high = (
            estimate * math.sqrt(df / stats.chi2.isf(p, df)) for p in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
        )
        return float(low), float(high)


def paired(row: Sequence[float], baseline: Sequence[float], margin: float | None = None) -> Difference:
    """Student's t test on the differences of runs that share their seed (scipy.stats.ttest_rel).

    margin: for p_equivalent, by statsmodels' ttost_paired.
    """
    from scipy import stats

    differences = np.subtract(row, baseline)
    n, mean = len(differences), float(np.mean(differences))
    sd = float(np.std(differences, ddof=1)) if n > 1 else math.nan
    if not sd > SMALLEST_SD:
        return Difference(True, n, n, mean)
    test = stats.ttest_rel(row, baseline)
    interval = test.confidence_interval(1 - ALPHA)
    wilcoxon = None
    if n >= WILCOXON_FROM:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy warns that it uses the normal approximation when there are ties
            wilcoxon = float(stats.wilcoxon(row, baseline).pvalue)
    equivalent = None
    if margin is not None:
        from statsmodels.stats.weightstats import ttost_paired

        equivalent = float(ttost_paired(np.asarray(row), np.asarray(baseline), -margin, margin)[0])
    low, high = float(interval.low), float(interval.high)
    return Difference(True, n, n, mean, sd, low, high, float(test.pvalue), wilcoxon, equivalent)


def welch(row: Sequence[float], baseline: Sequence[float], margin: float | None = None) -> Difference:
    """Welch's t test for independent runs (scipy.stats.ttest_ind, equal_var=False).

    margin: for p_equivalent, by statsmodels' ttost_ind, usevar="unequal".
    """
    from scipy import stats

    n, m = len(row), len(baseline)
    mean = float(np.mean(row) - np.mean(baseline))
    if min(n, m) < 2:
        return Difference(False, n, m, mean)
    variances = [float(np.var(values, ddof=1)) for values in (row, baseline)]
    sd = math.sqrt(((n - 1) * variances[0] + (m - 1) * variances[1]) / (n + m - 2))
    if not sd > SMALLEST_SD:
        return Difference(False, n, m, mean)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns when all runs of one side are equal
        test = stats.ttest_ind(row, baseline, equal_var=False)
    interval = test.confidence_interval(1 - ALPHA)
    equivalent = None
    if margin is not None:
        from statsmodels.stats.weightstats import ttost_ind

        equivalent = float(ttost_ind(np.asarray(row), np.asarray(baseline), -margin, margin, usevar="unequal")[0])
    low, high = float(interval.low), float(interval.high)
    return Difference(False, n, m, mean, sd, low, high, float(test.pvalue), None, equivalent)


def against_published(
    values: Sequence[float], mean: float, sd: float | None, n: int | None, margin: float | None = None
) -> Difference:
    """Runs against the mean and sample sd of n runs that a paper prints; Welch's interval if it prints all three.

    margin: for p_equivalent.
    """
    if sd is None or n is None or n < 2:
        return Difference(False, len(values), n or 1, float(np.mean(values)) - mean)
    shape = np.linspace(-1, 1, n)  # Welch's t depends on mean and sd only, so any n numbers with these do
    return welch(values, list(mean + sd * shape / np.std(shape, ddof=1)), margin)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values adjusted by Holm's step-down method (statsmodels' multipletests); None stays None and does not count."""
    from statsmodels.stats.multitest import multipletests

    there = [p for p in p_values if p is not None]
    if not there:
        return [None] * len(p_values)
    adjusted = iter(multipletests(there, alpha=ALPHA, method="holm")[1])
    return [None if p is None else float(next(adjusted)) for p in p_values]
