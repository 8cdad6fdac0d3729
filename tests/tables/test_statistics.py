"""Differences and their tests: against published tables of numbers, and by simulation."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from attnlab.errors import ConfigError
from attnlab.tables.comparison import Comparison
from attnlab.tables.grid import read_grid
from attnlab.tables.power import power
from attnlab.tables.power_analysis import (
    ALPHA,
    POWER,
    Design,
    equivalence_power,
    seeds_for_equivalence,
    seeds_needed,
)
from attnlab.tables.progress import Progress
from attnlab.tables.statistics import Difference, against_published, holm, paired, welch

SEEDS = range(5)


def test_paired_t_is_students_own():
    """Student 1908 (Biometrika 6, 1): sleep gained by ten patients with two drugs; t = -4.0621, 9 df, p = .00283."""
    one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    d = paired(one, two)
    assert d.p == pytest.approx(0.002833, abs=1e-6)
    assert (d.mean, d.low, d.high) == pytest.approx((-1.58, -2.4598858, -0.7001142))
    assert (d.n, d.paired) == (10, True)
    assert d.sd == pytest.approx(1.229995)
    assert d.wilcoxon is not None
    assert 0.003 < d.wilcoxon < 0.01
    assert paired(one[:5], two[:5]).wilcoxon is None
    unpaired = welch(one, two)
    assert unpaired.p == pytest.approx(0.07939, abs=1e-5)  # the same numbers, as R's t.test prints them
    assert (unpaired.low, unpaired.high) == pytest.approx((-3.3654832, 0.2054832))


def test_what_has_no_spread_is_not_judged():
    for d in (paired([1.0], [2.0]), paired([1.0, 2.0], [2.0, 3.0]), welch([1.0], [2.0, 3.0]), welch([1, 1], [2, 2])):
        assert (d.mean, d.p, d.low, d.detectable()) == (
            -1.5 if d.n_baseline == 2 and d.n == 1 else -1.0,
            None,
            None,
            None,
        )
    assert holm([None, 0.04, 0.01, 0.03]) == [None, 0.06, 0.03, 0.06]
    assert holm([None]) == [None]


def test_a_paper_is_met_by_welchs_interval():
    ours, theirs = [7.5, 7.7, 7.4], [7.67 - 0.19, 7.67, 7.67 + 0.19]
    d = against_published(ours, 7.67, 0.19, 3)
    assert dataclasses.astuple(d) == pytest.approx(dataclasses.astuple(welch(ours, theirs)), nan_ok=True)
    assert against_published(ours, 7.67, None, None).p is None


def test_seeds_needed_as_the_field_needs_them():
    """reference values of G*Power and of the power tables of Cohen 1988 (d = 0.5: 64 a group, 34 pairs)."""
    assert seeds_needed(0.5, 1, "unpaired") == 64
    assert seeds_needed(0.5, 1, "paired") == 34
    assert [seeds_needed(e, s, "unpaired") for e, s in ((0.2, 0.18), (0.1, 0.18), (0.5, 0.3))] == [14, 52, 7]
    assert seeds_needed(0.5, 1, "paired", comparisons=4) > 34
    assert [seeds_needed(effect, 1, "paired") for effect in (50, 15, 11, 3)] == [2, 2, 3, 4]
    assert [seeds_needed(2.5, 1, "paired", 63), seeds_needed(5, 1, "paired", 4)] == [8, 4]
    assert seeds_needed(5, 1, "unpaired", 13) == 4
    d = Difference(True, 34, 34, 0.0, sd=1.0)
    assert d.detectable() == pytest.approx(0.5, abs=0.01)
    assert d.detectable(4) > d.detectable()


@pytest.mark.parametrize("comparisons", [1, 4, 5, 13, 40, 63])
@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_what_is_detectable_is_detected(n, comparisons):
    """Against simulated t tests, no formula of power: 80 % of 200,000 tables of that size find it."""
    rng = np.random.default_rng(n)
    sample = rng.normal(Difference(True, n, n, 0.0, sd=1.0).detectable(comparisons), 1, size=(200_000, n))
    found = stats.ttest_1samp(sample, 0, axis=1).pvalue <= 0.05 / comparisons
    assert found.mean() == pytest.approx(0.8, abs=0.005)
    effect = Difference(False, n, n + 1, 0.0, sd=1.0).detectable(comparisons)
    one, other = rng.normal(effect, 1, size=(200_000, n)), rng.normal(0, 1, size=(200_000, n + 1))
    found = stats.ttest_ind(one, other, axis=1).pvalue <= 0.05 / comparisons
    assert found.mean() == pytest.approx(0.8, abs=0.005)


@pytest.mark.parametrize("comparisons", [1, 4])
@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_the_range_of_what_is_detectable_covers_it(n, comparisons):
    """In 10,000 simulated rows: the 90 % interval holds the difference that the true sd makes detectable."""
    rng = np.random.default_rng(n)
    for d, df in ((Difference(True, n, n, 0.0, sd=1.0), n - 1), (Difference(False, n, n + 1, 0.0, sd=1.0), 2 * n - 1)):
        true, ends = d.detectable(comparisons), np.array(d.detectable_range(comparisons))
        sd = np.sqrt((rng.normal(size=(10_000, df)) ** 2).mean(axis=1))[:, None]  # as a sample's, of a true sd of 1
        low, high = (sd * ends).T  # both ends are multiples of the sd
        assert low.mean() < true < high.mean()
        assert np.mean((low <= true) & (true <= high)) == pytest.approx(0.90, abs=0.012)
        assert np.mean(high < true) == pytest.approx(0.05, abs=0.009)
    assert paired([1.0], [2.0]).detectable_range() is None


def test_three_seeds_hardly_know_what_they_can_detect():
    """The audit's figure: at n = 3, 5 to 95 % of the estimates of a true 3.3 sd lie between 0.8 and 5.5 sd or so."""
    d = Difference(True, 3, 3, 0.0, sd=1.0)
    true = d.detectable()
    estimates = true * np.random.default_rng(0).normal(size=(100_000, 3)).std(axis=1, ddof=1)
    assert (true, *np.quantile(estimates, (0.05, 0.95))) == pytest.approx((3.26, 0.74, 5.65), abs=0.03)
    low, high = d.detectable_range()
    assert (true / high, true / low) == pytest.approx(np.quantile(estimates, (0.05, 0.95)) / true, abs=0.02)


def test_equivalence_is_the_90_percent_interval_within_the_margin():
    """What two one-sided tests at 5 % are: scipy's 90 % interval inside ±margin, for pairs and by Welch."""
    rng, found = np.random.default_rng(0), []
    for _ in range(200):
        one, other = rng.normal(0.2, 0.5, size=8), rng.normal(0, 1, size=8)
        for test, scipys in ((paired, stats.ttest_rel(one, other)),
                             (welch, stats.ttest_ind(one, other, equal_var=False))):  # fmt: skip
            inside = scipys.confidence_interval(0.90)
            found.append(inside.low > -1 and inside.high < 1)
            assert (test(one, other, 1.0).p_equivalent <= ALPHA) == found[-1]
            assert test(one, other).p_equivalent is None
    assert 0.3 < np.mean(found) < 0.9
    assert paired([1.0, 2.0], [2.0, 3.0], 5.0).p_equivalent is None  # no spread


@pytest.mark.parametrize(
    ("cv", "n", "ratio", "published"),
    [(0.30, 40, 0.95, 0.815845), (0.20, 20, 0.95, 0.834680), (0.25, 24, 0.95, 0.7391155), (0.20, 28, 0.92, 0.822742)],
)
def test_the_power_of_equivalence_is_powertosts(cv, n, ratio, published):
    """R's PowerTOST, whose manual prints these (2x2 crossover, log scale, limits 0.8 and 1.25): by Owen's Q."""
    sd = np.log(1 + cv**2) ** 0.5
    power = equivalence_power(np.log(1.25) / sd, Design(n - 2, (n / 2) ** 0.5), 0.05, true=np.log(ratio) / sd)
    assert power == pytest.approx(published, abs=1e-6)


@pytest.mark.parametrize("comparisons", [1, 4, 63])
@pytest.mark.parametrize("margin", [0.8, 1.5, 4])
def test_the_seeds_for_equivalence_show_it(margin, comparisons):
    """Against 40,000 simulated rows without a difference, no formula of power: n seeds are enough, n - 1 are not."""
    rng, alpha = np.random.default_rng(1), ALPHA / comparisons

    def shown(n, design):
        one, other = rng.normal(size=(2, 40_000, n))
        if design == "paired":
            mean, se, df = one.mean(axis=1), one.std(axis=1, ddof=1) / n**0.5, n - 1
        else:
            mean = one.mean(axis=1) - other.mean(axis=1)
            se, df = ((one.var(axis=1, ddof=1) + other.var(axis=1, ddof=1)) / n) ** 0.5, 2 * n - 2
        t = stats.t.isf(alpha, df)
        return np.mean(((mean + margin) / se >= t) & ((mean - margin) / se <= -t))

    for design in ("paired", "unpaired"):
        n = seeds_for_equivalence(margin, 1, design, comparisons)
        assert shown(n, design) >= POWER - 0.008  # four standard errors
        assert n == 2 or shown(n - 1, design) < POWER + 0.008
        of_n = Design(n - 1, n**0.5) if design == "paired" else Design(2 * n - 2, (n / 2) ** 0.5)
        assert shown(n, design) == pytest.approx(equivalence_power(margin, of_n, alpha), abs=0.008)


def test_power_says_seeds_and_what_they_cost(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = power(["effect=0.2", "sd=0.18", "design=unpaired"])
    assert "14 seeds a row" in lines[0]
    assert lines[1] == "1 row and the baseline: 28 runs."
    assert "No run is recorded" in lines[2]
    from synthetic import record, write

    write(tmp_path / "outputs", record(seconds=360.0))
    assert (
        "2.8 h  at 360 s a run: cluttered_digits, resnet20, quick on a CPU"
        in power(["effect=0.2", "sd=0.18", "design=unpaired"])[2].strip()
    )
    for day in range(1, 6):
        write(tmp_path / "outputs", record([f"recipe.epochs={day}0"], finished=f"2026-01-0{day}"))
    lines = power(["effect=0.2", "sd=0.18", "design=unpaired"])[2:]
    assert [line.rpartition("epochs=")[2][:2] for line in lines[:-1]] == ["50", "40", "30", "20"]
    assert lines[-1] == "  These are the 4 setups that ran last; 2 more are recorded."
    both = power(["effect=0.2", "margin=0.3", "sd=0.18", "comparisons=4"])
    n = seeds_for_equivalence(0.3, 0.18, "paired", 4)
    assert (
        f"Equivalence within ±0.3 at a standard deviation of 0.18 (the paired differences): {n} seeds a row" in both[1]
    )
    assert "5 % / 4 (Holm's first step)" in both[1]
    needed = max(n, seeds_needed(0.2, 0.18, "paired", 4))
    assert both[2] == f"4 rows and the baseline: {5 * needed} runs, enough for both."
    assert power(["margin=0.3", "sd=0.18", "comparisons=4"])[0] == both[1]
    with pytest.raises(ConfigError, match="effect: missing"):
        power(["sd=0.18"])
    for wrong in (
        "margin=1e-9",
        "margin=0",
        "margin=x",
        "effect=1e-9",
        "effect=0",
        "sd=x",
        "design=both",
        "comparisons=0",
        "effects=1",
    ):
        with pytest.raises(ConfigError, match=wrong.partition("=")[0]):
            power(["effect=0.2", "sd=0.18", wrong])


def simulated_records(grid, seeds, rng, shifts):
    """Records by id: errors of 8 and a row's shift, with what a seed does to all rows, and 0.2 of each run's own."""
    luck = {seed: rng.normal(scale=0.3) for seed in seeds}
    return {
        name: {"id": name, "config": {"seed": seed}, "precision": "32-true", "device": "a CPU, 2 cores",
               "metrics": {"test/top1_error": 8 + shifts.get(row, 0) + luck[seed] + rng.normal(scale=0.2)}}
        for (row, _, seed), name in grid.run_ids.items()
    }  # fmt: skip


@pytest.fixture
def simulated(monkeypatch):
    """A function: the demo's table with five seeds, its errors drawn anew, some rows shifted."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # multipletests collects at every call, 0.07 s of a big process
    grid = read_grid(["table=demo", "table.seeds=[0,1,2,3,4]"])
    rng = np.random.default_rng(0)

    def draw(shift=()):
        records = simulated_records(grid, SEEDS, rng, dict(shift))
        return Comparison(grid, Progress(grid, records)).results("test/top1_error")

    return draw


def test_a_table_without_effect_has_no_bold_cell(simulated):
    """2,000 tables of four rows without any effect: Holm holds 5 %, so at most 6.5 % of them have a bold cell."""
    bold = sum(any(result.bold for result in simulated().values()) for _ in range(2000))
    assert 0.02 * 2000 <= bold <= 0.065 * 2000  # fewer than 2 % would be a test that never calls anything


def test_a_true_effect_at_the_stated_power_is_found(simulated):
    effect = Difference(True, 5, 5, 0.0, sd=0.2 * 2**0.5).detectable(4)
    found = sum(simulated([("CBAM", effect)])["CBAM", ""].bold for _ in range(500))
    assert found >= 0.75 * 500  # 80 %, less three standard errors
    assert sum(simulated([("CBAM", effect / 4)])["CBAM", ""].bold for _ in range(200)) < 0.3 * 200
