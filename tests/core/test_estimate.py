"""Estimates of one run and of several, and how they are logged."""

import math
import subprocess
import sys

import pytest
from scipy.stats import norm, ttest_1samp

from dejavu_lightning.core.estimate import Estimate, estimates_in, flatten, net_parts, over_runs
from dejavu_lightning.core.intervals import p_value


@pytest.mark.parametrize(("runs", "t"), [(3, 4.303), (4, 3.182), (5, 2.776), (6, 2.571), (11, 2.228), (31, 2.042)])
def test_three_runs_or_more_have_students_interval(runs, t):
    """The t of runs - 1 degrees of freedom as printed in tables; values 0, 0, ..., 1 have mean 1/n and variance 1/n."""
    value, low, high, count, *_ = over_runs([Estimate(1.0, 0.0, 9.0), *[Estimate(0.0)] * (runs - 1)])
    assert (value, count) == (pytest.approx(1 / runs), runs)
    half = t * math.sqrt(1 / runs) / math.sqrt(runs)
    assert (high - value, value - low) == (pytest.approx(half, rel=2e-4), pytest.approx(half, rel=2e-4))


def test_the_p_value_over_seeds_is_students():
    """0.1, 0.2, 0.3: mean 0.2, standard error 0.1 / sqrt(3), t = 3.464 of 2 degrees of freedom; p = .0371."""
    seeds = [Estimate(value, 0.0, 1.0, p_value=0.01) for value in (0.1, 0.2, 0.3)]
    assert over_runs(seeds).p_value == pytest.approx(0.0371, abs=5e-5)
    assert over_runs([Estimate(0.1), *seeds]).p_value is None


def test_logs_hold_every_number_of_an_estimate():
    found = {"net_score": Estimate(0.2, 0.1, 0.3, p_value=0.01), "records": Estimate(5.0)}
    row = flatten(found)
    assert row == {
        "net_score": 0.2,
        "net_score_low": 0.1,
        "net_score_high": 0.3,
        "net_score_p_value": 0.01,
        "records": 5.0,
    }
    assert estimates_in(row) == found


def test_one_run_or_two_have_their_own_intervals():
    assert over_runs([Estimate(0.5, 0.4, 0.7)]) == Estimate(0.5, 0.4, 0.7)
    # Of two, both intervals as independent: sqrt(0.1^2 + 0.1^2) / 2 below, sqrt(0.2^2 + 0.2^2) / 2 above.
    two = over_runs([Estimate(0.2, 0.1, 0.4), Estimate(0.4, 0.3, 0.6)])
    assert two[:4] == pytest.approx((0.3, 0.3 - 0.1 / 2**0.5, 0.3 + 0.2 / 2**0.5, 2))
    assert over_runs([Estimate(0.2), Estimate(0.4, 0.3, 0.5)])[1:3] == (None, None)


def test_runs_that_are_all_alike_have_their_own_intervals():
    """Their spread of 0 tells nothing of what a seed decides."""
    three = over_runs([Estimate(0.0, 0.0, 0.3)] * 3)
    assert three[:4] == (0, 0, pytest.approx(0.3 / math.sqrt(3)), 3)


def test_p_values_of_several_runs():
    """Of three the one-sided t test; of two that of their joint interval; none where one was not asked."""
    asked = [Estimate(value, value - 0.1, value + 0.1, p_value=0.01) for value in (0.1, 0.2, 0.3)]
    assert over_runs(asked).p_value == pytest.approx(ttest_1samp([0.1, 0.2, 0.3], 0, alternative="greater").pvalue)
    two = over_runs(asked[:2])
    assert two.p_value == p_value(two)
    assert two.p_value == pytest.approx(norm.sf(1.959964 * 0.15 / (0.1 / math.sqrt(2))))
    assert over_runs([asked[0], Estimate(0.2, 0.1, 0.3)]).p_value is None


def test_net_value_gap_and_control_stand_together():
    assert net_parts("net_score@5") == net_parts("score@5") == ("net_score@5", "score@5", "control_score@5")


def test_studies_start_without_loading_scipy_or_torch():
    code = "import sys, dejavu_lightning.studies; print([name for name in ('scipy', 'torch') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
