"""Power of the t tests of attnlab.tables.statistics, and how many seeds a difference or an equivalence needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

ALPHA, POWER = 0.05, 0.80
#: the search for a number of seeds stops here
MOST_SEEDS = 1_000_000


@dataclass(frozen=True)
class Design:
    """What a t test's power depends on besides the effect: t = effect / sd * scale, with df degrees of freedom."""

    df: float
    scale: float


def paired_design(n: int) -> Design:
    """n pairs of runs; sd: of the paired differences."""
    return Design(n - 1, math.sqrt(n))


def unpaired_design(n: int, m: int) -> Design:
    """n runs against m independent ones; sd: of one run, equal on both sides."""
    return Design(n + m - 2, math.sqrt(n * m / (n + m)))


def power(effect: float, design: Design, alpha: float) -> float:
    """Power of a two-sided t test for an effect in standard deviations.

    t^2 follows F with 1 and df degrees of freedom and non-centrality (effect scale)^2. This uses scipy's non-central F
    and not statsmodels' solve_power, whose non-central t is nan in places, so that its search stops at a wrong value.
    """
    from scipy import stats

    threshold = stats.f.isf(alpha, 1, design.df)
    return float(stats.ncf.sf(threshold, 1, design.df, (effect * design.scale) ** 2))


def equivalence_power(margin: float, design: Design, alpha: float, true: float = 0.0) -> float:
    """Power of two one-sided t tests, each at alpha, to show that a difference lies within ±margin.

    margin, true: in standard deviations;  true: the true difference. With u = sqrt(chi2 / df), the estimated over the
    true standard deviation, both tests reject with probability

        E_u [ Phi((margin - true) scale - t u) - Phi(t u - (margin + true) scale) ],   t = the critical value,

    where that is above 0 (Owen's Q; Phillips 1990, J. Pharmacokin. Biopharm. 18, 137). The integral runs over the
    quantiles of u.
    """
    from scipy import integrate, special, stats

    df, scale = design.df, design.scale
    t = stats.t.isf(alpha, df)

    def rejected(quantile: float) -> float:
        u = math.sqrt(2 * special.gammaincinv(df / 2, quantile) / df)
        return float(special.ndtr((margin - true) * scale - t * u) - special.ndtr(t * u - (margin + true) * scale))

    highest = special.gammainc(df / 2, df / 2 * (margin * scale / t) ** 2)
    return float(integrate.quad(rejected, 0, highest)[0])


def detectable_effect(design: Design, alpha: float) -> float:
    """The effect, in standard deviations, that a two-sided t test finds with 80 % power."""
    from scipy.optimize import brentq

    high = 1.0
    while power(high, design, alpha) < POWER:
        high *= 2
    return float(brentq(lambda effect: power(effect, design, alpha) - POWER, 0, high))


def seeds_needed(effect: float, sd: float, design: str, comparisons: int = 1) -> int:
    """Seeds a row to find a difference of `effect` with 80 % power at 5 %, two-sided; at most MOST_SEEDS.

    sd: of one row's runs (design=unpaired) or of the paired differences (design=paired);  comparisons: rows compared
    with the baseline, each at 5 % / comparisons.
    """
    return _fewest(lambda n: power(abs(effect) / sd, _design(design, n), ALPHA / comparisons) >= POWER)


def seeds_for_equivalence(margin: float, sd: float, design: str, comparisons: int = 1) -> int:
    """Seeds a row to show equivalence within ±margin with 80 % power, if the true difference is 0.

    Two one-sided tests at 5 % / comparisons each; the arguments are those of `seeds_needed`.
    """
    return _fewest(lambda n: equivalence_power(margin / sd, _design(design, n), ALPHA / comparisons) >= POWER)


def _design(name: str, n: int) -> Design:
    return paired_design(n) if name == "paired" else unpaired_design(n, n)


def _fewest(enough: Callable[[int], bool]) -> int:
    """The smallest n from 2 for which `enough` holds, or MOST_SEEDS; by doubling, then bisection."""
    few, many = 1, 2
    while not enough(many) and many < MOST_SEEDS:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return min(many, MOST_SEEDS)
