"""Target records against reference records: what is left is memorization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dejavu_lightning.core import intervals
from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization.catalog import find_test
from dejavu_lightning.memorization.protocols import Comparison, MemorizationTest
from dejavu_lightning.memorization.statistics import Terms


def compare(target: Records, reference: Records, *, paired: bool = True, seed: int = 0) -> Comparison:
    """Compare target records with reference records, joined on their ids, as their test defines it.

    Args:
        target: the target model's records.
        reference: the reference's records; of the same ids if ``paired``.
        paired: True where both were attacked on the same records. False, as with ``HeldOut``, compares
            two independent samples: there is no outcome per record, and intervals are two-sample.
        seed: of the subsamples.

    Raises:
        ValueError: the ids differ although paired, or settings that both tables have differ.

    Returns:
        The estimates with their intervals, and a table with one row per record where they are paired.

    Example:
        >>> from torch import tensor
        >>> from dejavu_lightning.memorization import LabelInference
        >>> records = LabelInference().records_of_probabilities
        >>> ids, labels = ["a", "b"], tensor([0, 1])
        >>> target = records(ids, labels, [tensor([[0.9, 0.1], [0.2, 0.8]])], "example")  # both right
        >>> reference = records(ids, labels, [tensor([[0.9, 0.1], [0.6, 0.4]])], "example")  # one right
        >>> found = compare(target, reference)
        >>> found.metrics["score"], found.table["outcome"].to_pylist()
        (0.5, ['correlated', 'memorized'])
    """
    _check_settings(target.settings, reference.settings, "target and reference records cannot be compared, they")
    if paired and target.ids != reference.ids:
        lost, extra = sorted(set(target.ids) - set(reference.ids)), sorted(set(reference.ids) - set(target.ids))
        raise ValueError(
            f"target and reference were attacked on different records: {len(lost)} ids only in the target's "
            f"(such as {lost[:2]}), {len(extra)} only in the reference's (such as {extra[:2]})"
        )
    found = find_test(target.settings).compare(target, reference, paired, seed)
    # Of one model on two random samples a gap is net already: without memory it is 0.
    tested = {} if paired else {gap: _tested(found.estimates[gap]) for gap in found.gaps}
    return replace(found, estimates={**found.estimates, **tested, "records": Estimate(float(len(target)))})


def control(held_out: Comparison) -> dict[str, Estimate]:
    """Name the gaps on records that neither model was trained on ``control_<gap>``."""
    return {f"control_{gap}": held_out.estimates[gap] for gap in held_out.gaps}


def net(attacked: Comparison, held_out: Comparison) -> dict[str, Estimate]:
    """Subtract each gap on held-out records from that on attacked ones, as ``net_<gap>``.

    E_net = E(attacked) - E(held-out), of the same two models: what they differ by without memory cancels. Both samples
    are independent. Each has the one-sided p-value of "nothing is memorized".
    """
    return {
        f"net_{gap}": _tested(intervals.difference(attacked.estimates[gap], held_out.estimates[gap]))
        for gap in attacked.gaps
        if gap in held_out.gaps
    }


def net_terms(attacked: Comparison, held_out: Comparison) -> dict[str, tuple[Terms, ...]]:
    """What both samples' records add to each net estimate."""
    return {
        f"net_{gap}": (*terms, *(Terms(ids, -values) for ids, values in held_out.gaps[gap]))
        for gap, terms in attacked.gaps.items()
        if gap in held_out.gaps
    }


def symmetric_average(first: Comparison, second: Comparison) -> dict[str, Estimate]:
    """Average two comparisons with exchanged roles, (target A, reference B) and (target B, reference A).

    The attacked records are disjoint: the two are independent samples (Meehan et al. 2023, arXiv 2304.13850, average
    likewise).

    Args:
        first, second: the two comparisons, of one test with the same settings.

    Returns:
        ``symmetric_<gap>``, with the one-sided p-value of "nothing is memorized": what the two models differ in by
        ability cancels here, too.

    Raises:
        ValueError: the two were made with other settings.

    Example:
        >>> from torch import tensor
        >>> from dejavu_lightning.memorization import LabelInference
        >>> def records(identifier, probabilities):
        ...     return LabelInference().records_of_probabilities([identifier], tensor([1]), [probabilities], "example")
        >>> right, wrong = tensor([[0.1, 0.9]]), tensor([[0.9, 0.1]])
        >>> first = compare(records("a", right), records("a", wrong))
        >>> second = compare(records("b", right), records("b", right))
        >>> symmetric_average(first, second)["symmetric_score"].value
        0.5
    """
    _check_settings(first.settings, second.settings, "both directions cannot be averaged, they")
    return {
        f"symmetric_{gap}": _tested(intervals.average([first.estimates[gap], second.estimates[gap]]))
        for gap in first.gaps
    }


def headline(test: MemorizationTest | type[MemorizationTest], estimates: Mapping[str, object]) -> str:
    """The estimate that sums a measurement up: the net value of the test's headline where there is one.

    With ``HeldOut``, which is net by construction, it is the gap itself, or ``unpaired_<gap>`` where a gap of unpaired
    records is another quantity.
    """
    names = (f"net_{test.headline}", test.headline, f"unpaired_{test.headline}")
    return next((name for name in names if name in estimates), test.headline)


def _tested(estimate: Estimate) -> Estimate:
    return estimate._replace(p_value=intervals.p_value(estimate))


def _check_settings(one: Mapping[str, Any], other: Mapping[str, Any], what: str) -> None:
    """Settings that both have must agree."""
    differing = sorted(key for key in one if key in other and one[key] != other[key])
    if differing:
        listed = ", ".join(f"{key}: {one[key]} against {other[key]}" for key in differing)
        raise ValueError(f"{what} were made differently ({listed})")
