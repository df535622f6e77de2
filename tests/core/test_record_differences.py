"""Differences of two measurements of the same records, and Holm's p-values, by hand."""

import math

import numpy as np
import pytest
from scipy.stats import norm, ttest_1samp

from dejavu_lightning.core.estimate import Estimate, over_runs
from dejavu_lightning.core.intervals import difference_p_value, holm, paired_gap, record_difference


def test_what_a_record_adds_to_both_cancels():
    """Four records, of which one changes by 1."""
    first = {"a": 1.0, "b": -1.0, "c": 0.0, "d": 1.0}
    second = {"d": 0.0, "a": 1.0, "b": -1.0, "c": 0.0}  # by id, whatever the order
    value, low, high, *_ = record_difference([first], [second])
    assert value == 0.25
    assert (low, high) == pytest.approx(paired_gap(np.array([1.0, 0.0, 0.0, 0.0]))[1:3])


def test_samples_add_up_and_their_arms_by_squares():
    """Of a net value: attacked and held-out records are independent."""
    attacked = ({"a": 1.0, "b": 1.0, "c": 0.0}, {"a": 0.0, "b": 1.0, "c": 0.0})
    held_out = ({"x": 0.0, "y": 1.0}, {"x": 1.0, "y": 1.0})
    parts = [record_difference([one], [other]) for one, other in (attacked, held_out)]
    both = record_difference([attacked[0], held_out[0]], [attacked[1], held_out[1]])
    assert both.value == pytest.approx(1 / 3 - 1 / 2)
    assert both.high - both.value == pytest.approx(math.hypot(*(part.high - part.value for part in parts)))
    assert both.value - both.low == pytest.approx(math.hypot(*(part.value - part.low for part in parts)))


def test_records_that_do_not_differ_still_have_a_width():
    same = {str(row): float(row % 2) for row in range(50)}
    value, low, high, *_ = record_difference([same], [same])
    assert (value, low) == (0, -high)
    assert high == pytest.approx(2 * 1.959964**2 / (50 + 1.959964**2))  # twice that of answers, of which none changed


def test_other_records_have_no_paired_difference():
    one, other = {"a": 1.0, "b": 0.0}, {"a": 1.0, "c": 0.0}
    assert record_difference([one], [other]) is None
    assert record_difference([one, other], [one]) is None
    assert record_difference([], []) is None


@pytest.mark.parametrize("records", [50, 1000])
def test_the_paired_difference_covers_the_truth(records):
    rng = np.random.default_rng(records)
    held = 0
    for _ in range(400):
        easy = rng.random(records) * 0.6  # of both variants' targets and of the reference alike
        more, less, reference = (rng.random(records) < easy + added for added in (0.1, 0.0, 0.0))
        terms = [dict(enumerate(own.astype(float) - reference)) for own in (more, less)]
        _, low, high, *_ = record_difference(terms[:1], terms[1:])
        held += low <= 0.1 <= high
    assert 0.92 <= held / 400 <= 0.98


def test_p_values_go_with_the_intervals():
    """Of a normal interval, and of three seeds as scipy's one-sample t test."""
    assert difference_p_value(Estimate(-0.2, -0.4, 0.0)) == pytest.approx(0.05)
    assert difference_p_value(Estimate(0.1, -0.1, 0.3)) == pytest.approx(2 * norm.sf(1.959964 / 2))
    assert difference_p_value(Estimate(0.0, -0.1, 0.3)) == 1
    assert difference_p_value(Estimate(0.3)) is None
    values = [0.1, 0.3, 0.2, 0.25]
    assert difference_p_value(over_runs([Estimate(value) for value in values])) == pytest.approx(
        ttest_1samp(values, 0).pvalue
    )


def test_holm_by_hand():
    """.01 * 3, .03 * 2, .04 * 1 but not below the one before it; what was not tested does not count."""
    assert holm([0.04, None, 0.01, 0.03]) == [pytest.approx(0.06), None, pytest.approx(0.03), pytest.approx(0.06)]
    assert holm([0.6, 0.5]) == [1, 1]
    assert holm([]) == []
