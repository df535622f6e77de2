"""The ranking of variants: numbers by hand; Fieller's interval against tests of ratios and in simulated studies."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import ttest_1samp

from dejavu_lightning.core.simultaneous.joint_intervals import holding_together
from dejavu_lightning.studies import SeedResult, rank_variants
from dejavu_lightning.studies.ranking import fieller_ratio


def results(headlines, utilities):
    return {seed: SeedResult(*both) for seed, both in enumerate(zip(headlines, utilities, strict=True))}


DEFAULT = results([0.5, 0.6, 0.7], [0.50, 0.52, 0.54])


def ranked(**variants):
    return rank_variants({"default": DEFAULT, **variants}, "default")


def two_degrees(quantile):
    """Student's t of two degrees of freedom, in closed form."""
    return (2 * quantile - 1) / math.sqrt(2 * quantile * (1 - quantile))


def test_removed_lost_and_their_ratio_by_hand():
    # Removed .20, .21, .19; lost 4, 5, 3 points. The other variant only counts: two together are asked .9875 of t.
    costly = results([0.30, 0.39, 0.51], [0.46, 0.47, 0.51])
    first, second = ranked(same=DEFAULT, costly=costly)
    assert (first.variant, first.group, first.seeds) == ("costly", "removes surely", 3)
    reach = two_degrees(0.9875) / math.sqrt(3)  # of standard deviations .01 and 1
    assert first.removed[:3] == pytest.approx((0.2, 0.2 - 0.01 * reach, 0.2 + 0.01 * reach))
    assert first.lost[:3] == pytest.approx((4, 4 - reach, 4 + reach))
    # removed - r lost = .2 - 4r + (.01 - r)(lost - 4), so that the ends have 4r - .2 = -+ reach (r - .01).
    low, high = (0.2 + 0.01 * reach) / (4 + reach), (0.2 - 0.01 * reach) / (4 - reach)
    assert first.removed_per_point[:3] == pytest.approx((0.05, low, high))
    assert first.at_least == pytest.approx((0.2 - 0.01 * reach) / (4 + reach))
    assert second[:3] == ("same", "no sure removal", (0.0, 0.0, 0.0, 3, "Student's t over seeds", None))


def test_what_costs_nothing_by_construction_comes_before_what_costs():
    """A released backbone: trained alike and probed there, so that no utility is lost in any seed."""
    released = results([0.40, 0.51, 0.59], [0.50, 0.52, 0.54])
    costly = results([0.20, 0.31, 0.39], [0.30, 0.33, 0.33])
    first, second = ranked(costly=costly, released=released)
    assert (first.variant, first.lost[:3], first.at_least) == ("released", (0.0, 0.0, 0.0), math.inf)
    assert second.variant == "costly"
    assert 0 < second.at_least < math.inf


def test_the_order_is_by_group_and_within_it_by_how_much():
    def variant(removed, lost):
        """Differences that vary by .001 and a tenth of a point."""
        sign = np.array([-1, 0, 1])
        return results(
            [base.headline - removed - 0.001 * one for base, one in zip(DEFAULT.values(), sign, strict=True)],
            [base.utility - (lost + 0.1 * one) / 100 for base, one in zip(DEFAULT.values(), sign, strict=True)],
        )

    noisy = results([-0.4, 0.6, 0.6], [0.5, 0.52, 0.53])  # removes most on average, by one seed
    rows = ranked(
        worse=variant(-0.1, 0),
        noisy=noisy,
        much_for_much=variant(0.3, 10),
        little_for_little=variant(0.1, 2),
        free=variant(0.05, 0),
        better=variant(0.06, -5),
        costs=variant(0, 8),
    )
    groups = ["removes surely"] * 4 + ["no sure removal"] * 3
    names = ["better", "free", "little_for_little", "much_for_much", "noisy", "costs", "worse"]
    assert [(row.variant, row.group) for row in rows] == list(zip(names, groups, strict=True))
    # Of seven variants 1 - .025 / 7 of t, by the root of 3, of .001 and of a tenth of a point.
    reach = two_degrees(1 - 0.025 / 7) / math.sqrt(3)
    assert [row.at_least for row in rows[:4]] == pytest.approx(
        [
            math.inf,
            *((removed - 0.001 * reach) / (lost + 0.1 * reach) for removed, lost in ((0.05, 0), (0.1, 2), (0.3, 10))),
        ]
    )
    assert [row.at_least for row in rows[4:]] == [None] * 3
    ratios = {row.variant: row.removed_per_point for row in rows}
    assert ratios["little_for_little"].value == pytest.approx(0.05)
    assert ratios["much_for_much"].value == pytest.approx(0.03)
    assert ratios["costs"].value == pytest.approx(0)  # a loss for nothing
    assert ratios["better"] is ratios["free"] is ratios["noisy"] is ratios["worse"] is None


def test_a_loss_that_nobody_knows_comes_behind_a_small_one():
    removes = [[0.30, 0.39, 0.51], [0.31, 0.40, 0.52], [0.30, 0.39, 0.51]]  # .20 or .19 on average, as surely
    unknown = results(removes[0], [0.30, 0.50, 0.58])  # lost 20, 2, -4 points
    known = results(removes[1], [0.496, 0.517, 0.538])  # .4, .3, .2
    constant = results(removes[2], [0.45, 0.47, 0.49])  # 5 in each, of which there is no interval
    rows = ranked(unknown=unknown, constant=constant, known=known)
    assert [(row.variant, row.group) for row in rows] == [
        (name, "removes surely") for name in ("known", "unknown", "constant")
    ]
    assert rows[2].at_least is None


def test_two_seeds_have_values_and_no_place():
    (row,) = ranked(fast={seed: SeedResult(0.1 * seed, 0.4) for seed in (0, 2)})
    assert (row.group, row.seeds, row.removed_per_point) == ("fewer than 3 seeds", 2, None)
    assert row.removed[:3] == (pytest.approx(0.5), None, None)
    assert row.lost[:3] == (pytest.approx(12), None, None)


def test_differences_that_are_alike_but_for_rounding_have_no_interval():
    shifted = results([0.2, 0.3, 0.4], [0.47, 0.49, 0.51])
    assert len({DEFAULT[seed].headline - one.headline for seed, one in shifted.items()}) > 1
    (row,) = ranked(shifted=shifted)
    assert (row.removed.low, row.lost.low, row.removed_per_point, row.group) == (None, None, None, "no sure removal")
    # A sure loss, of a removal that has no interval.
    (row,) = ranked(shifted=results([0.2, 0.3, 0.4], [0.40, 0.42, 0.43]))
    assert row.lost.low > 0
    assert row.removed_per_point is None


def test_seeds_that_failed_of_one_are_left_out_and_a_variant_of_none_comes_last():
    other = results([0.3, 0.4], [0.5, 0.5]) | {7: SeedResult(9.0, 9.0)}
    rows = ranked(broken={}, worse=results([0.9] * 3, [0.5] * 3), other=other)
    assert [(row.variant, row.seeds) for row in rows] == [("worse", 3), ("other", 2), ("broken", 0)]
    assert rows[1].removed.value == pytest.approx(0.2)
    assert rows[-1][1:] == ("fewer than 3 seeds", None, None, None, None, 0)


def test_the_default_alone_is_no_ranking_and_an_unknown_one_is_refused():
    assert ranked() == []
    with pytest.raises(ValueError, match="default 'plain' is no variant with results; choose from masked"):
        rank_variants({"masked": DEFAULT}, "plain")


def test_fieller_s_ends_are_where_student_s_test_of_the_ratio_turns():
    drawn = np.random.default_rng(0).normal(size=(2, 6))
    above, below = 0.3 + 0.05 * drawn[0], 4 + drawn[1] - 0.5 * drawn[0]
    with holding_together(7):
        value, low, high, *_ = fieller_ratio(above, below)

    def undecided(ratio):
        return ttest_1samp(above - ratio * below, 0).pvalue - 0.05 / 7

    assert value == pytest.approx(above.mean() / below.mean())
    assert low == pytest.approx(brentq(undecided, -1, value), rel=1e-6)
    assert high == pytest.approx(brentq(undecided, value, 1), rel=1e-6)


def test_there_is_no_interval_where_the_denominator_may_be_zero():
    assert fieller_ratio(np.array([0.2, 0.21, 0.19]), np.array([-1.0, 1.0, 3.0])) is None
    assert fieller_ratio(np.array([0.2, 0.21, 0.19]), np.zeros(3)) is None


def test_fieller_s_interval_covers_the_ratio_of_simulated_studies():
    generator = np.random.default_rng(1)
    studies = 2000
    shared, own, other = generator.normal(size=(3, studies, 5))
    above, below = 0.3 + 0.1 * shared + 0.1 * own, 6 + shared + other  # a ratio of .05
    found = [fieller_ratio(*pair) for pair in zip(above, below, strict=True)]
    covered = sum(one is None or one.low <= 0.05 <= one.high for one in found) / studies
    assert sum(one is None for one in found) < 0.02 * studies
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / studies))
