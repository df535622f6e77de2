import numpy as np
import pytest
from scipy.stats import binomtest, multinomial, t

from dejavu_lightning.core.intervals import difference, paired_gap, share, unbounded_mean
from dejavu_lightning.core.simultaneous.joint_intervals import exact_share, holding_together, joint_gap


@pytest.mark.parametrize("part", [0, 1, 4, 20])
def test_a_share_of_many_has_clopper_and_pearson_s_interval_at_its_part_of_the_misses(part):
    with holding_together(50):
        found = share(part, 20)
    expected = binomtest(part, 20).proportion_ci(1 - 0.05 / 50, method="exact")
    assert found[1:3] == pytest.approx((expected.low, expected.high))
    assert found.kind == "Clopper and Pearson over records"


def test_a_paired_gap_of_many_subtracts_two_of_them_with_their_correlation():
    differences = np.repeat([1.0, 0.0, -1.0], [20, 70, 10])
    with holding_together(8):
        found = paired_gap(differences)
        # The correlation of two shares of one sample that exclude each other.
        both = difference(exact_share(0.2, 100), exact_share(0.1, 100), -np.sqrt(0.2 * 0.1 / (0.8 * 0.9)))
    assert found[:3] == pytest.approx(both[:3])


def test_gaps_of_records_that_are_all_alike_have_a_width_too():
    with holding_together(8):
        assert paired_gap(np.zeros(30)).low < 0 < paired_gap(np.zeros(30)).high
        assert paired_gap(np.ones(30)).low < 1 <= paired_gap(np.ones(30)).high


def test_a_mean_of_many_has_a_further_quantile():
    values = np.array([1.0, 2.0, 4.0])
    with holding_together(10):
        found = unbounded_mean(values)
    half = t.ppf(1 - 0.05 / 10 / 2, 2) * values.std(ddof=1) / np.sqrt(3)
    assert found[1:3] == pytest.approx((values.mean() - half, values.mean() + half))


def test_a_family_of_one_and_what_follows_a_family_stay_as_they_are():
    alone = share(3, 20), paired_gap(np.ones(5)), unbounded_mean(np.arange(4.0))
    with holding_together(1):
        assert (share(3, 20), paired_gap(np.ones(5)), unbounded_mean(np.arange(4.0))) == alone
    with pytest.raises(RuntimeError), holding_together(9):
        raise RuntimeError
    assert (share(3, 20), paired_gap(np.ones(5)), unbounded_mean(np.arange(4.0))) == alone


def test_a_family_has_members():
    with pytest.raises(ValueError, match="count must be at least 1, got 0"), holding_together(0):
        pass


@pytest.mark.parametrize("family", [2, 100])
def test_a_paired_gap_of_many_misses_no_more_often_than_it_may(family):
    """Over all outcomes of 30 records."""
    outcomes = [(grown, shrunk) for grown in range(31) for shrunk in range(31 - grown)]
    with holding_together(family):
        ends = [joint_gap(grown / 30, shrunk / 30, 30) for grown, shrunk in outcomes]
    for grows, shrinks in [(0.01, 0.01), (0.1, 0.02), (0.3, 0.3), (0.9, 0.05)]:
        shares = [grows, shrinks, 1 - grows - shrinks]
        misses = [
            multinomial.pmf([grown, shrunk, 30 - grown - shrunk], 30, shares)
            for (grown, shrunk), (low, high) in zip(outcomes, ends, strict=True)
            if not low <= grows - shrinks <= high
        ]
        assert sum(misses) <= 0.05 / family * 1.05
