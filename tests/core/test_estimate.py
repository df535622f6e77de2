"""Intervals against published tables, and by hand."""

import math
import subprocess
import sys
from fractions import Fraction

import pytest

from dejavu_lightning.core.estimate import Estimate, estimates_in, flatten, over_runs
from dejavu_lightning.core.intervals import share


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


def test_wilsons_interval_of_a_share():
    assert share(0, 10)[:3] == pytest.approx((0, 0, 0.2775), abs=1e-4)  # z^2 / (n + z^2)
    assert share(5, 10)[:3] == pytest.approx((0.5, 0.2366, 0.7634), abs=1e-4)


def test_the_exact_interval_of_a_share_by_hand():
    """Of 50 records all: 0.025^(1/50) = 0.929, where a share p shows all 50 with probability p^50 = 0.025."""
    assert share(50, 50, "exact")[:4] == (1, pytest.approx(0.025 ** (1 / 50)), 1, 1)
    assert share(50, 50, "exact").low == pytest.approx(0.929, abs=5e-4)
    assert share(0, 50, "exact")[:4] == (0, 0, pytest.approx(0.071, abs=5e-4), 1)


def test_each_end_of_the_exact_interval_leaves_out_one_fortieth():
    value, low, high, *_ = share(3, 8, "exact")

    def at_least(count, p):
        return float(sum(math.comb(8, k) * Fraction(p) ** k * (1 - Fraction(p)) ** (8 - k) for k in range(count, 9)))

    assert value == 3 / 8
    assert at_least(3, low) == pytest.approx(0.025)  # were it lower, 3 or more would be rarer
    assert 1 - at_least(4, high) == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 2), r"part must lie in \[0, whole\] and whole be at least 1, got 3 of 2"),
        ((-1, 2), "got -1 of 2"),
        ((0, 0), "got 0 of 0"),
        ((1, 2, "wald"), r"method \('wald'\) must be one of 'exact', 'wilson'"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        share(*arguments)


def test_studies_start_without_loading_scipy_or_torch():
    code = "import sys, dejavu_lightning.studies; print([name for name in ('scipy', 'torch') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
