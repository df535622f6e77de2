"""Target records against reference records: what is left is memorization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization import statistics
from dejavu_lightning.memorization.catalog import find_test
from dejavu_lightning.memorization.protocols import Comparison
from dejavu_lightning.memorization.statistics import Floats


def compare(target: Records, reference: Records, *, paired: bool = True, seed: int = 0) -> Comparison:
    """Join the two tables on id and measure what only the target knows, as their test says.

    Args:
        target: the target model's records.
        reference: the reference's records; of the same ids if ``paired``.
        paired: True where both were attacked on the same records. False, as with ``HeldOut``, compares
            two independent samples: there is no outcome per record, and intervals are two-sample.
        seed: of the bootstrap and the subsamples.

    Raises:
        ValueError: the ids differ although paired, or settings that both tables have differ.
    """
    _check_settings(target.settings, reference.settings, "target and reference records cannot be compared, they")
    if paired and target.ids != reference.ids:
        lost, extra = sorted(set(target.ids) - set(reference.ids)), sorted(set(reference.ids) - set(target.ids))
        raise ValueError(
            f"target and reference were attacked on different records: {len(lost)} ids only in the target's "
            f"(such as {lost[:2]}), {len(extra)} only in the reference's (such as {extra[:2]})"
        )
    found = find_test(target.settings).compare(target, reference, paired, seed)
    return replace(found, estimates={**found.estimates, "records": Estimate(float(len(target)))})


def symmetric_average(first: Comparison, second: Comparison) -> dict[str, Estimate]:
    """Average two comparisons with exchanged roles: (target A, reference B) and (target B, reference A).

    The attacked records are disjoint, so the intervals come from averaged independent replicates.

    Raises:
        ValueError: the two were made with other settings.
    """
    _check_settings(first.settings, second.settings, "both directions cannot be averaged, they")
    return {
        name: Estimate(
            (first.estimates[name].value + second.estimates[name].value) / 2,
            *statistics.interval((replicate + second.replicates[name]) / 2),
            kind=statistics.KIND,
        )
        for name, replicate in first.replicates.items()
    }


def net(attacked: Comparison, held_out: Comparison, metric: str) -> tuple[Estimate, Floats]:
    """Subtract an estimate on held-out records, which models of unequal ability have too, from that on attacked ones.

    Args:
        attacked, held_out: of the same two models, their resamples drawn from different seeds.
        metric: one with replicates.

    Returns:
        The estimate, and its bootstrap replicates (R,).
    """
    replicates = attacked.replicates[metric] - held_out.replicates[metric]
    value = attacked.estimates[metric].value - held_out.estimates[metric].value
    return Estimate(value, *statistics.interval(replicates), kind=statistics.KIND), replicates


def _check_settings(one: Mapping[str, Any], other: Mapping[str, Any], what: str) -> None:
    """Settings that both have must agree."""
    differing = sorted(key for key in one if key in other and one[key] != other[key])
    if differing:
        listed = ", ".join(f"{key}: {one[key]} against {other[key]}" for key in differing)
        raise ValueError(f"{what} were made differently ({listed})")
