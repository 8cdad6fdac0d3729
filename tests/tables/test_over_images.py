"""What is said of other test images: against values worked by hand, and by simulation."""

import numpy as np
import pytest

from attnlab.errors import ConfigError
from attnlab.records.predictions import Predictions
from attnlab.tables.over_images import agreement, bins, calibration_error, difference, mcnemar, wilson

TABLES = 2000


def said(wrong, run="a", confidence=None, data_hash="0"):
    """A run that is wrong on these images, all of class 0; a wrong one is taken for class 1."""
    wrong = np.asarray(wrong)
    confidence = np.full(len(wrong), 0.5) if confidence is None else np.asarray(confidence)
    return Predictions(run, np.zeros(len(wrong), np.uint8), wrong.astype(np.uint8), confidence, data_hash)


def test_wilson_is_wilsons():
    """Newcombe 1998 (Statistics in Medicine 17, 857), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    printed = {(81, 263): (25.53, 36.62), (15, 148): (6.24, 16.05), (0, 20): (0.0, 16.11), (1, 29): (0.61, 17.18)}
    for (wrong, images), expected in printed.items():
        found = wilson(wrong, images)
        assert (found.low, found.high) == pytest.approx(expected, abs=0.005)
        assert found.mean == pytest.approx(100 * wrong / images)


def test_mcnemar_by_hand():
    """Of ten images that just one gets wrong, two are the first's: p = 2 (1 + 10 + 45) / 2^10."""
    first = said([1] * 3 + [1] * 2 + [0] * 8 + [0] * 7)
    second = said([1] * 3 + [0] * 2 + [1] * 8 + [0] * 7, run="b")
    found = mcnemar(first, second)
    assert (found.both, found.only_first, found.only_second, found.neither) == (3, 2, 8, 7)
    assert found.p == pytest.approx(112 / 1024)
    assert mcnemar(first, first).p == 1


def test_the_difference_over_images_by_hand():
    """Two seeds a row; d_i = 100, 50, 0, -50 and four zeros: mean 12.5, sd 44.32, t(7) = 2.3646."""
    row = [said([1, 1, 0, 0, 0, 0, 1, 0]), said([1, 0, 0, 0, 0, 0, 1, 0], "b")]
    baseline = [said([0, 0, 0, 1, 0, 0, 1, 0], "c"), said([0, 0, 0, 0, 0, 0, 1, 0], "d")]
    found = difference(row, baseline)
    d = np.array([100, 50, 0, -50, 0, 0, 0, 0])
    half = 2.364624 * d.std(ddof=1) / np.sqrt(8)
    assert (found.mean, found.low, found.high) == pytest.approx((12.5, 12.5 - half, 12.5 + half), abs=1e-4)
    assert found.mean == pytest.approx(np.mean([r.error for r in row]) - np.mean([b.error for b in baseline]), abs=1e-5)
    none = difference(row, row)
    assert (none.mean, none.low) == (0, None)  # nothing to measure against


def test_agreement_by_hand():
    """Wrong on {0, 1}, {1, 2} and {1}: pairs share one wrong image of two, of two and one, of two and one."""
    runs = [said([1, 1, 0, 0]), said([0, 1, 1, 0], "b"), said([0, 1, 0, 0], "c")]
    found = agreement(runs)
    assert found.same == pytest.approx(100 * np.mean([2, 3, 3]) / 4)
    assert found.shared == pytest.approx(100 * np.mean([1 / 2, 2 / 3, 2 / 3]))
    assert found.chance == pytest.approx(100 * np.mean([1 / 2, 1 / 3, 1 / 3]))
    assert agreement(runs[:1]) is None
    assert agreement([said([0, 0]), said([0, 0], "b")]).shared is None


def test_seeds_that_err_independently_share_what_chance_makes_them_share():
    random = np.random.default_rng(0)
    found = agreement([said(random.random(50_000) < 0.2, str(seed)) for seed in range(4)])
    assert found.shared == pytest.approx(20, abs=1)
    assert found.chance == pytest.approx(20, abs=0.3)
    assert found.same == pytest.approx(100 * (0.2**2 + 0.8**2), abs=0.5)


def test_runs_of_other_images_are_not_compared():
    one, other = said([0, 1]), said([0, 1], "b", data_hash="1")
    for compared in (lambda: difference([one], [other]), lambda: mcnemar(one, other), lambda: agreement([one, other])):
        with pytest.raises(ConfigError, match="run=a,b: different test images"):
            compared()
    with pytest.raises(ConfigError, match="different test images"):
        mcnemar(one, said([0, 1, 1], "b"))


def test_bins_and_calibration_error_by_hand():
    """Four images at 0.25, one right; two at 1, both right: (4 |1/4 - 1/4| + 2 |1 - 1|) / 6, and 0.5 for 0.75."""
    run = said([1, 1, 1, 0, 0, 0], confidence=[0.25] * 4 + [1.0] * 2)
    assert calibration_error(run) == pytest.approx(0)
    assert calibration_error(said([1, 1], confidence=[0.5, 0.5])) == pytest.approx(0.5)
    found = bins(run, 15)
    assert [(item.images, item.right, item.accuracy) for item in found if item] == [(4, 1, 0.25), (2, 2, 1.0)]
    assert [number for number, item in enumerate(found) if item] == [3, 14]


@pytest.mark.parametrize("images", [200, 1000])
@pytest.mark.parametrize(("error", "effect"), [(0.08, 0.0), (0.08, 0.02), (0.3, 0.0)])
def test_the_interval_over_images_covers(images, error, effect, record_property):
    """2,000 test sets of one table: two seeds a row, whose errors come together as those of real nets do.

    An image's difficulty is Beta distributed; a net errs on it with that probability, the row's nets with `effect`
    more on average. The nets are fixed, the images drawn: the interval must hold the true difference 95 times in 100.
    """
    random = np.random.default_rng([images, int(100 * error), int(100 * effect)])
    shape = (0.3 * error, 0.3 * (1 - error))
    held = 0
    for _ in range(TABLES):
        hard = random.beta(*shape, size=images)
        wrong = [random.random(images) < hard for _ in range(2)]
        more = [w | (random.random(images) < effect / (1 - error)) for w in (random.random((2, images)) < hard)]
        found = difference([said(w) for w in more], [said(w) for w in wrong])
        # of an image that the net would get right: the share 1 - error of all, so the difference is `effect`
        held += found.low is not None and found.low <= 100 * effect <= found.high
    record_property("figure", f"image interval, {images} images, error {error}, effect {effect}: {held / TABLES:.3f}")
    assert 0.93 <= held / TABLES <= 0.97


def test_wilsons_interval_covers(record_property):
    """Of classes of 100 images, at errors of 1 to 60 %: 95 % on the mean, and nowhere far below."""
    random = np.random.default_rng(3)
    intervals = {wrong: wilson(wrong, 100) for wrong in range(101)}
    shares = []
    for error in np.linspace(0.01, 0.6, 40):
        drawn = random.binomial(100, error, size=TABLES)
        shares.append(np.mean([intervals[w].low <= 100 * error <= intervals[w].high for w in drawn]))
    record_property("figure", f"Wilson, 100 images: mean {np.mean(shares):.3f}, lowest {min(shares):.3f}")
    assert 0.94 <= np.mean(shares) <= 0.965
    assert min(shares) > 0.9


def test_mcnemar_finds_too_much_at_most_as_often_as_it_says(record_property):
    random = np.random.default_rng(4)
    found = 0
    for _ in range(TABLES):
        hard = random.beta(0.1, 0.9, size=300)
        one, other = (random.random(300) < hard for _ in range(2))
        found += mcnemar(said(one), said(other, "b")).p <= 0.05
    record_property("figure", f"McNemar, exact, no effect: {found / TABLES:.3f}")
    assert found / TABLES <= 0.05 + 0.01
