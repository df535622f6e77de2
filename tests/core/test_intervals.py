import math

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binom, multinomial

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import (
    Z,
    average,
    bounded_mean,
    difference,
    p_value,
    paired_gap,
    share,
    unbounded_mean,
    wilson,
)


def wald(part, whole):
    """What a percentile bootstrap of a share comes to."""
    half = Z * math.sqrt(part / whole * (1 - part / whole) / whole)
    return Estimate(part / whole, part / whole - half, part / whole + half)


def ends(estimate):
    return pytest.approx((estimate.low, estimate.high), abs=5e-5)


def holds(estimate, truth):
    return estimate.low - 1e-12 <= truth <= estimate.high + 1e-12


def share_coverage(interval, records, truth):
    parts = np.arange(records + 1)
    return binom.pmf(parts, records, truth) @ [holds(interval(int(part), records), truth) for part in parts]


def signs(up, down, records):
    return np.repeat((1.0, -1.0, 0.0), (up, down, records - up - down))


@pytest.fixture(scope="module")
def gaps_of_50():
    return {(up, down): paired_gap(signs(up, down, 50)) for up in range(51) for down in range(51 - up)}


def paired_coverage(gaps, up, down):
    counts = np.array(list(gaps))
    likely = multinomial.pmf(np.column_stack([counts, 50 - counts.sum(1)]), 50, (up, down, max(0.0, 1 - up - down)))
    return likely @ [holds(interval, up - down) for interval in gaps.values()]


def test_shares_have_the_published_ends():
    # Newcombe (1998, Statistics in Medicine 17, 857), table I, method 3
    assert ends(share(81, 263)) == (0.2553, 0.3662)
    assert ends(share(15, 148)) == (0.0624, 0.1605)
    assert ends(share(0, 20)) == (0.0, 0.1611)
    # of one in 29 the upper end, and -log(.95) / 29, the mean of a Poisson count above 0 in 5% of samples
    assert ends(share(1, 29)) == (-math.log(0.95) / 29, 0.1718)
    assert share(28, 29).high == pytest.approx(1 + math.log(0.95) / 29)
    assert share(50, 50).low < 0.95
    assert share(50, 50).high == 1.0
    with pytest.raises(ValueError, match=r"part must lie in \[0, whole\] and whole be at least 1, got 3 of 2"):
        share(3, 2)
    for part, whole in ((-1, 2), (0, 0)):
        with pytest.raises(ValueError, match=f"got {part} of {whole}"):
            share(part, whole)


@pytest.mark.parametrize("records", [50, 250, 1000])
@pytest.mark.parametrize("expected", [5, 8, 12, 20, 25])
def test_a_share_is_held_by_95_percent_of_intervals(records, expected):
    assert 0.93 <= share_coverage(share, records, expected / records) <= 0.971


def test_intervals_of_rare_records_err_on_the_wide_side():
    rare = [share_coverage(share, 50, truth) for truth in np.linspace(0.001, 0.1, 34)]
    assert min(rare) > 0.93
    assert share_coverage(share, 50, 0.01) == pytest.approx(0.986, abs=5e-4)
    assert share_coverage(wald, 50, 0.01) < 0.4


@pytest.mark.parametrize(("up", "down", "records"), [(9, 3, 50), (1, 0, 40), (20, 20, 50), (0, 0, 30), (12, 7, 21)])
def test_paired_gaps_have_the_ends_of_a_slow_score_test(up, down, records):
    """Every difference is tested with the likeliest shares that have it, found by search."""

    def statistic(gap):
        def unlikely(shrunk):
            cells = shrunk + gap, shrunk, 1 - gap - 2 * shrunk
            counts = up, down, records - up - down
            return -sum(n * math.log(max(cell, 1e-300)) for n, cell in zip(counts, cells, strict=True) if n)

        bounds = max(0.0, -gap), (1 - gap) / 2
        shrunk = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return (up - down - records * gap) / math.sqrt(records * (2 * shrunk + gap - gap**2))

    value = (up - down) / records
    expected = (
        brentq(lambda gap: statistic(gap) - Z, -0.999, value),
        brentq(lambda gap: statistic(gap) + Z, value, 0.999),
    )
    found = paired_gap(signs(up, down, records))
    assert (found.value, found.low, found.high) == pytest.approx((value, *expected), abs=1e-4)


@pytest.mark.parametrize(("up", "down"), [(0.13, 0), (0.2, 0.01), (0.1, 0.1), (0.5, 0.5), (0.3, 0.1), (0.8, 0)])
def test_a_paired_gap_is_held_by_95_percent_of_intervals(gaps_of_50, up, down):
    assert 0.93 <= paired_coverage(gaps_of_50, up, down) <= 0.97
    assert paired_coverage(gaps_of_50, down, up) == pytest.approx(paired_coverage(gaps_of_50, up, down))


@pytest.mark.parametrize(("up", "down"), [(0.02, 0), (0.05, 0.01), (0.98, 0), (0.996, 0.002), (0, 0)])
def test_paired_gaps_near_the_ends_err_on_the_wide_side(gaps_of_50, up, down):
    assert paired_coverage(gaps_of_50, up, down) > 0.93


def test_a_paired_gap_scales_with_its_differences():
    whole, part = paired_gap(signs(9, 3, 50)), paired_gap(0.3 * signs(9, 3, 50))
    assert part[:3] == pytest.approx([0.3 * each for each in whole[:3]])
    turned = paired_gap(-signs(9, 3, 50))
    assert turned[:3] == pytest.approx([-whole.value, -whole.high, -whole.low])
    nothing = paired_gap(np.zeros(30))
    assert nothing.high == pytest.approx(Z**2 / (30 + Z**2)) == pytest.approx(-nothing.low)


def test_differences_of_several_sizes_are_taken_as_of_one():
    # 60 of .5 and 60 of .1: sum 36, squares 15.6; (15.6 + .25) * 200 / 201 / 36 = .43808, as 82.18 of 200 up.
    found = paired_gap(np.repeat((0.5, 0.1, 0.0), (60, 60, 80)))
    size = (15.6 + 0.25) * 200 / 201 / 36
    below, above = (paired_gap(size * signs(up, 0, 200)) for up in (82, 83))
    assert below.low < found.low < above.low
    assert below.high < found.high < above.high


def test_means_of_values_between_0_and_1():
    assert bounded_mean(np.array([1.0, 0, 0, 1, 1])) == share(3, 5)
    # mean .5, squares .09 + .01 + .01 + .09, and .09 once more: .29 / 5 of .25
    assert bounded_mean(np.array([0.2, 0.4, 0.6, 0.8])) == wilson(0.5, 4 * 0.25 / (0.29 / 5))
    assert bounded_mean(np.full(10, 0.25)) == wilson(0.25, 10)
    assert bounded_mean(np.ones(50)) == share(50, 50)


def test_a_mean_is_held_by_95_percent_of_intervals():
    rng = np.random.default_rng(0)
    for draw, truth in ((rng.beta(0.2, 2, (3000, 50)), 0.2 / 2.2), (rng.binomial(5, 0.8, (3000, 50)) / 5, 0.8)):
        held = np.mean([holds(bounded_mean(values), truth) for values in draw])
        assert 0.938 < held < 0.975  # .95 to .96, and three standard errors
    steps = rng.choice((-0.5, -0.1, 0.0, 0.1, 0.5, 1.0), (3000, 50), p=(0.1, 0.1, 0.4, 0.1, 0.2, 0.1))
    assert 0.93 < np.mean([holds(paired_gap(values), 0.15) for values in steps]) < 0.97


def test_students_interval():
    assert unbounded_mean(np.array([1.0, 2, 3]))[:3] == pytest.approx(
        (2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), 1e-4
    )
    assert unbounded_mean(np.array([1.0])) == Estimate(1.0)


def test_differences_of_independent_samples():
    # Newcombe (1998, Statistics in Medicine 17, 873), table II, method 10
    assert ends(difference(share(56, 70), share(48, 80))) == (0.0524, 0.3339)
    one = Estimate(3.0, 2.0, 5.0)
    assert difference(one, one, correlation=1.0)[:3] == pytest.approx((0.0, -1.0, 1.0))
    assert difference(one, Estimate(1.0)) == Estimate(2.0)
    assert average([one, Estimate(1.0, -3.0, 1.5)])[:3] == pytest.approx((2, 2 - 17**0.5 / 2, 2 + 4.25**0.5 / 2))
    assert average([one, Estimate(1.0)]) == Estimate(2.0)


def test_p_values_belong_to_the_interval():
    assert p_value(Estimate(1.0, 1 - Z, 9.0)) == pytest.approx(0.158655, abs=1e-6)
    assert p_value(Estimate(-1.0, -9.0, Z - 1)) == pytest.approx(0.841345, abs=1e-6)
    assert p_value(Estimate(0.5, 0.0, 0.7)) == pytest.approx(0.025)
    assert p_value(Estimate(0.0, -0.1, 0.1)) == 0.5
    assert p_value(Estimate(0.5)) is None
