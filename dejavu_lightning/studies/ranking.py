"""Rank the variants of a study by the memorization that each removes for a point of utility lost.

scipy is imported where it is used: it takes longer than listing or reading a study.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dejavu_lightning.core.estimate import OVER_SEEDS, SEEDS_FOR_SPREAD, Estimate
from dejavu_lightning.core.intervals import Floats, unbounded_mean
from dejavu_lightning.core.simultaneous.joint_intervals import holding_together, upper_quantile

POINTS = 100  # of a utility that is a share
ALIKE = 1e-9  # differences of seeds that are nearer to each other are rounding
REMOVES = "removes surely"
NO_SURE_REMOVAL = "no sure removal"
TOO_FEW = f"fewer than {SEEDS_FOR_SPREAD} seeds"
GROUPS = (REMOVES, NO_SURE_REMOVAL, TOO_FEW)  # in the order of the ranking


class SeedResult(NamedTuple):
    """Headline and utility of one run, of a variant and a seed."""

    headline: float
    utility: float


class RankedVariant(NamedTuple):
    """A variant against the default, as means over seeds that both finished; None where there is no such number.

    Attributes:
        variant: its name.
        group: which comes before how much: one of ``GROUPS``.
        removed: headline of the default minus that of the variant.
        lost: utility of the default minus that of the variant, in points.
        removed_per_point: ``removed`` divided by ``lost``, where the loss is sure.
        at_least: the lower end of ``removed`` divided by the upper end of ``lost``; infinite where that is a gain.
        seeds: how many there are of both.
    """

    variant: str
    group: str
    removed: Estimate | None
    lost: Estimate | None
    removed_per_point: Estimate | None
    at_least: float | None
    seeds: int


def rank_variants(results: Mapping[str, Mapping[int, SeedResult]], default: str) -> list[RankedVariant]:
    """Rank variants against the default, paired by seed, by the memorization that each removes for a point lost.

    First those that surely remove memorization: whose interval of what is removed lies above 0. Among them comes
    first what removes most for a point that it may lose, the lower end of what is removed over the upper end of what
    is lost: a loss that nobody knows is no small one. Then those without a sure removal, by what they remove. Each of
    the three intervals (Student's t over seeds, Fieller's of the ratio) holds for all variants together by
    Bonferroni's adjustment. Differences of seeds that are all alike have none, but those that are all 0, as of variants
    that are trained alike, are 0 surely; fewer than three seeds are not ranked.

    Args:
        results: variant -> seed -> what was measured; a run that failed is left out.
        default: the variant that the others are compared with, and which is not ranked.

    Raises:
        ValueError: the default is not among the variants.

    Example:
        >>> default = {seed: SeedResult(headline=0.40, utility=0.30) for seed in range(3)}
        >>> masked = {seed: SeedResult(headline, 0.31) for seed, headline in enumerate((0.20, 0.21, 0.19))}
        >>> first, = rank_variants({"default": default, "masked": masked}, "default")
        >>> first.group, "{:.2f} [{:.2f}, {:.2f}]".format(*first.removed[:3])
        ('removes surely', '0.20 [0.18, 0.22]')
    """
    if default not in results:
        raise ValueError(f"default {default!r} is no variant with results; choose from {', '.join(results) or 'none'}")
    others = [variant for variant in results if variant != default]
    if not others:
        return []
    with holding_together(len(others)):
        ranked = [_against(results[default], variant, results[variant]) for variant in others]
    return sorted(ranked, key=_place)


def _against(base: Mapping[int, SeedResult], variant: str, own: Mapping[int, SeedResult]) -> RankedVariant:
    seeds = sorted(base.keys() & own.keys())
    if not seeds:
        return RankedVariant(variant, TOO_FEW, None, None, None, None, 0)
    removals = np.array([base[seed].headline - own[seed].headline for seed in seeds])
    losses = POINTS * np.array([base[seed].utility - own[seed].utility for seed in seeds])
    removed, lost = _mean(removals), _mean(losses)
    removes, loses = (found.low is not None and found.low > 0 for found in (removed, lost))
    group = TOO_FEW if len(seeds) < SEEDS_FOR_SPREAD else REMOVES if removes else NO_SURE_REMOVAL
    ratio = fieller_ratio(removals, losses) if loses and removed.low is not None else None
    return RankedVariant(variant, group, removed, lost, ratio, _at_least(removed, lost), len(seeds))


def _at_least(removed: Estimate, lost: Estimate) -> float | None:
    if removed.low is None or removed.low <= 0 or lost.high is None:
        return None
    return removed.low / lost.high if lost.high > 0 else math.inf


def _mean(differences: Floats) -> Estimate:
    count = len(differences)
    if count >= SEEDS_FOR_SPREAD and not differences.any():
        return Estimate(0.0, 0.0, 0.0, count, OVER_SEEDS)
    if count < SEEDS_FOR_SPREAD or float(np.ptp(differences)) < ALIKE:
        return Estimate(float(differences.mean()), runs=count)
    return unbounded_mean(differences)._replace(runs=count, kind=OVER_SEEDS)


def _place(ranked: RankedVariant) -> tuple[int, float, float]:
    removed = ranked.removed.value if ranked.removed else -math.inf
    return GROUPS.index(ranked.group), -(ranked.at_least or 0.0), -removed


def fieller_ratio(above: Floats, below: Floats) -> Estimate | None:
    """Divide the mean of values by that of the values they are paired with, with Fieller's interval.

    Fieller (1954, Journal of the Royal Statistical Society B 16, 175): the interval has all r for which Student's t
    finds no difference between the mean of ``above - r * below`` and 0. It is bounded where the interval of the mean of
    ``below`` leaves out 0; elsewhere there is none, and the answer is None.

    Args:
        above, below: (N,) of the same N seeds, at least 2.

    Example:
        >>> import numpy as np
        >>> "{:.2f} [{:.2f}, {:.2f}]".format(*fieller_ratio(np.array([2.0, 4.1, 6.2]), np.array([9.0, 10.0, 11.0]))[:3])
        '0.41 [-0.15, 0.75]'
    """
    from scipy.stats import t

    count = len(above)
    reach = float(t.ppf(upper_quantile(), count - 1)) ** 2 / count
    top, bottom = float(above.mean()), float(below.mean())
    (of_top, joint), (_, of_bottom) = reach * np.cov(above, below)
    # The ends are the roots of squared * r^2 - 2 * linear * r + constant.
    squared, linear, constant = bottom**2 - of_bottom, top * bottom - joint, top**2 - of_top
    if squared <= 0:
        return None
    half = math.sqrt(max(0.0, linear**2 - squared * constant))
    return Estimate(top / bottom, (linear - half) / squared, (linear + half) / squared, count, "Fieller over seeds")
