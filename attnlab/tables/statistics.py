"""Is a difference more than chance, or shown to be small? Paired and Welch's t, TOST, Holm, power: scipy, statsmodels.

Numbers are those of single runs (test error in percent, say), one a seed; a difference is row minus baseline.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

ALPHA, POWER = 0.05, 0.80
#: of the interval that is given for what is detectable
CONFIDENCE = 0.90
#: nobody trains more
MOST_SEEDS = 1_000_000
#: pairs from which Wilcoxon's signed-rank test can reach 5 % at all (n = 5: its smallest p is 6.25 %)
WILCOXON_FROM = 6


@dataclass(frozen=True)
class Difference:
    """A row against its baseline.

    n: pairs, or runs of the row (n_baseline: of the baseline);  mean, low, high: row minus baseline and its 95 %
    interval;  sd: of the paired differences, or of one run (pooled);  p: two-sided, of the paired t test or Welch's;
    wilcoxon: p of the signed-rank test;  p_equivalent: of two one-sided tests against a margin, where one was given.
    None where there are too few runs, or all differences are equal: then there is no spread to measure against.
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
    def _shape(self) -> tuple[float, float]:
        return _paired_shape(self.n) if self.paired else _unpaired_shape(self.n, self.n_baseline)

    def detectable(self, comparisons: int = 1) -> float | None:
        """The difference that so many runs, of this spread, find with 80 % power at 5 %, among so many comparisons.

        At 5 % / comparisons, Holm's first and strictest step.
        """
        from scipy.optimize import brentq

        if self.sd is None:
            return None
        shape, high = self._shape, 1.0
        while power(high, *shape, ALPHA / comparisons) < POWER:
            high *= 2
        return self.sd * float(brentq(lambda d: power(d, *shape, ALPHA / comparisons) - POWER, 0, high))

    def detectable_range(self, comparisons: int = 1) -> tuple[float, float] | None:
        """The 90 % interval of `detectable`, which is a multiple of the sd, and no better known than the sd is.

        df sd^2 / sigma^2 is chi-square with df degrees of freedom, where differences are normal, and, of independent
        runs, where row and baseline spread alike.
        """
        from scipy import stats

        estimate = self.detectable(comparisons)
        if estimate is None:
            return None
        df, _ = self._shape
        low, high = (
            estimate * math.sqrt(df / stats.chi2.isf(p, df)) for p in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
        )
        return float(low), float(high)


def power(effect: float, df: float, scale: float, alpha: float) -> float:
    """Power of a two-sided t test: t^2 is F with 1 and df degrees of freedom, non-central by (effect scale)^2.

    effect: in standard deviations. scipy's non-central F, not statsmodels' solve_power: that asks for the non-central
    t, which is nan at places, and then returns where it happened to stop.
    """
    from scipy import stats

    return float(stats.ncf.sf(stats.f.isf(alpha, 1, df), 1, df, (effect * scale) ** 2))


def equivalence_power(margin: float, df: float, scale: float, alpha: float, true: float = 0.0) -> float:
    """Power of two one-sided t tests, each at alpha, to show that a difference lies within +-margin.

    margin, true: in standard deviations;  true: where the difference really lies. With u = sqrt(chi2 / df), the sd that
    is found over the true one, both tests reject with probability

        E_u [ Phi((margin - true) scale - t u) - Phi(t u - (margin + true) scale) ],   t = the critical value,

    as long as that is above 0 (Owen's Q; Phillips 1990, J. Pharmacokin. Biopharm. 18, 137). Integrated over the
    quantiles of u.
    """
    from scipy import integrate, special, stats

    t = stats.t.isf(alpha, df)

    def rejected(quantile: float) -> float:
        u = math.sqrt(2 * special.gammaincinv(df / 2, quantile) / df)
        return float(special.ndtr((margin - true) * scale - t * u) - special.ndtr(t * u - (margin + true) * scale))

    most = special.gammainc(df / 2, df / 2 * (margin * scale / t) ** 2)
    return float(integrate.quad(rejected, 0, most)[0])


def _paired_shape(n: int) -> tuple[float, float]:
    return n - 1, math.sqrt(n)


def _unpaired_shape(n: int, m: int) -> tuple[float, float]:
    return n + m - 2, math.sqrt(n * m / (n + m))


def paired(row: Sequence[float], baseline: Sequence[float], margin: float | None = None) -> Difference:
    """Student's t on the differences of runs that share their seed (scipy.stats.ttest_rel).

    margin: for p_equivalent, by statsmodels' ttost_paired.
    """
    from scipy import stats

    differences = np.subtract(row, baseline)
    n, mean = len(differences), float(np.mean(differences))
    sd = float(np.std(differences, ddof=1)) if n > 1 else math.nan
    if not sd > 1e-9:
        return Difference(True, n, n, mean)
    test = stats.ttest_rel(row, baseline)
    interval = test.confidence_interval(1 - ALPHA)
    wilcoxon = None
    if n >= WILCOXON_FROM:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ties, for which scipy takes the normal approximation
            wilcoxon = float(stats.wilcoxon(row, baseline).pvalue)
    equivalent = None
    if margin is not None:
        from statsmodels.stats.weightstats import ttost_paired

        equivalent = float(ttost_paired(np.asarray(row), np.asarray(baseline), -margin, margin)[0])
    low, high = float(interval.low), float(interval.high)
    return Difference(True, n, n, mean, sd, low, high, float(test.pvalue), wilcoxon, equivalent)


def welch(row: Sequence[float], baseline: Sequence[float], margin: float | None = None) -> Difference:
    """Welch's t for runs that share nothing but the data (scipy.stats.ttest_ind, equal_var=False).

    margin: for p_equivalent, by statsmodels' ttost_ind, usevar="unequal".
    """
    from scipy import stats

    n, m = len(row), len(baseline)
    mean = float(np.mean(row) - np.mean(baseline))
    if min(n, m) < 2:
        return Difference(False, n, m, mean)
    variances = [float(np.var(values, ddof=1)) for values in (row, baseline)]
    sd = math.sqrt(((n - 1) * variances[0] + (m - 1) * variances[1]) / (n + m - 2))
    if not sd > 1e-9:
        return Difference(False, n, m, mean)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one side whose runs are all equal
        test = stats.ttest_ind(row, baseline, equal_var=False)
    interval = test.confidence_interval(1 - ALPHA)
    equivalent = None
    if margin is not None:
        from statsmodels.stats.weightstats import ttost_ind

        equivalent = float(ttost_ind(np.asarray(row), np.asarray(baseline), -margin, margin, usevar="unequal")[0])
    low, high = float(interval.low), float(interval.high)
    return Difference(False, n, m, mean, sd, low, high, float(test.pvalue), None, equivalent)


def against_published(values: Sequence[float], mean: float, sd: float | None, n: int | None) -> Difference:
    """Runs against a mean and sample sd of n runs that a paper prints: Welch's interval, where it prints all three."""
    if sd is None or n is None or n < 2:
        return Difference(False, len(values), n or 1, float(np.mean(values)) - mean)
    shape = np.linspace(-1, 1, n)  # any n numbers of that mean and sd: Welch's t sees nothing else of them
    return welch(values, list(mean + sd * shape / np.std(shape, ddof=1)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p adjusted by Holm's step-down method, over all that are there (statsmodels' multipletests)."""
    from statsmodels.stats.multitest import multipletests

    there = [p for p in p_values if p is not None]
    if not there:
        return [None] * len(p_values)
    adjusted = iter(multipletests(there, alpha=ALPHA, method="holm")[1])
    return [None if p is None else float(next(adjusted)) for p in p_values]


def seeds_needed(effect: float, sd: float, design: str, comparisons: int = 1) -> int:
    """Seeds a row that find a difference of `effect` with 80 % power at 5 %, two-sided; MOST_SEEDS where that is more.

    sd: of one row's runs (design=unpaired) or of the paired differences (design=paired);  comparisons: rows held
    against the baseline, at 5 % / comparisons each.
    """

    return _fewest(lambda n: power(abs(effect) / sd, *_shape_of(design, n), ALPHA / comparisons) >= POWER)


def seeds_for_equivalence(margin: float, sd: float, design: str, comparisons: int = 1) -> int:
    """Seeds a row that show equivalence within +-margin with 80 % power, where the true difference is 0.

    As seeds_needed: two one-sided tests, at 5 % / comparisons each; MOST_SEEDS where it takes more.
    """
    return _fewest(lambda n: equivalence_power(margin / sd, *_shape_of(design, n), ALPHA / comparisons) >= POWER)


def _shape_of(design: str, n: int) -> tuple[float, float]:
    return _paired_shape(n) if design == "paired" else _unpaired_shape(n, n)


def _fewest(enough: Callable[[int], bool]) -> int:
    """The fewest runs from 2 that are enough, or MOST_SEEDS."""
    few, many = 1, 2
    while not enough(many) and many < MOST_SEEDS:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return min(many, MOST_SEEDS)
