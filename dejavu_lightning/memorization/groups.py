"""Memorization by groups of records: the estimates of each, with intervals that hold together, and who differs most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_lightning.core.estimate import Estimate, flatten
from dejavu_lightning.core.intervals import Floats
from dejavu_lightning.core.records import Records
from dejavu_lightning.core.simultaneous.joint_intervals import holding_together
from dejavu_lightning.memorization.compare import compare, control, net
from dejavu_lightning.memorization.group_column import GroupColumn
from dejavu_lightning.memorization.protocols import ReferenceRecords
from dejavu_lightning.memorization.statistics import Terms

PERMUTATIONS = 1999
NEAR = 64  # groups among which the clearest pair is looked for first


class GroupEstimates(NamedTuple):
    """What was estimated of one group.

    Attributes:
        group: its name; empty for the records without one.
        records, held_out: how many attacked and held-out records it has.
        estimates: as of a measurement, with simultaneous intervals; empty of a group with too few records.
    """

    group: str
    records: int
    held_out: int
    estimates: Mapping[str, Estimate]

    def row(self) -> dict[str, Any]:
        """As a row of ``groups.csv``."""
        counts = {"group": self.group, "records": self.records, "held_out": self.held_out}
        return counts | flatten(self.estimates)


class GroupDifference(NamedTuple):
    """The two groups that differ most clearly in a gap or net value, of as many ``groups`` as could be compared.

    ``difference`` is that of the mean terms of ``higher`` and ``lower``; ``p_value`` of "no two groups differ".
    """

    metric: str
    higher: str
    lower: str
    difference: float
    p_value: float
    groups: int


class Breakdown(NamedTuple):
    """Memorization by the groups of a column.

    Attributes:
        column: that says the groups.
        groups: the largest first, those without a group last.
        differences: the clearest of each gap and net value; none where fewer than two groups have enough records.
    """

    column: str
    groups: Sequence[GroupEstimates]
    differences: Sequence[GroupDifference]


def break_down(
    column: GroupColumn,
    of: Mapping[str, str],
    target: Records,
    answer: ReferenceRecords,
    held_out: Records | None,
    paired: bool,
    gaps: Mapping[str, tuple[Terms, ...]],
) -> Breakdown:
    """Estimate each group as the whole is, with 95% intervals that hold for all groups of an estimate at once.

    Args:
        column: says the groups.
        of: what it says, the group of each id.
        target, answer, held_out, paired: what the whole was compared of; ``held_out`` are the target's records.
        gaps: what records add to the gaps and net values of which the clearest difference is tested.
    """
    unseen = answer.neither_split if held_out is not None else None
    parts = {
        name: _split(records, of)
        for name, records in (
            ("target", target),
            ("reference", answer.attack),
            ("held_out", held_out),
            ("unseen", unseen),
        )
        if records is not None
    }

    def size(name: str, group: str) -> int:
        return len(parts[name][group]) if name in parts and group in parts[name] else 0

    order = sorted(parts["target"], key=lambda group: (group == "", -size("target", group), group))
    enough = [
        group for group in order if group and min(size("target", group), size("reference", group)) >= column.min_records
    ]
    found: dict[str, dict[str, Estimate]] = {}
    with holding_together(max(1, len(enough))):
        for group in enough:
            one = compare(parts["target"][group], parts["reference"][group], paired=paired)
            estimates = dict(one.estimates)
            if min(size("held_out", group), size("unseen", group)) >= column.min_records:
                other = compare(parts["held_out"][group], parts["unseen"][group])
                estimates |= control(other) | net(one, other)
            # Those p-values are of intervals that hold alone.
            found[group] = {
                name: value._replace(p_value=None)
                for name, value in estimates.items()
                if name != "records" and "_subsample_" not in name
            }
    groups = [
        GroupEstimates(group, size("target", group), size("held_out", group), found.get(group, {})) for group in order
    ]
    differences = [_clearest(name, terms, of, column) for name, terms in gaps.items()]
    return Breakdown(column.column, groups, [clearest for clearest in differences if clearest is not None])


def _split(records: Records, of: Mapping[str, str]) -> dict[str, Records]:
    """The records of each group; those without one under an empty name."""
    rows: dict[str, list[int]] = {}
    for row, identifier in enumerate(records.ids):
        rows.setdefault(of.get(identifier, ""), []).append(row)
    return {group: replace(records, table=records.table.take(own)) for group, own in rows.items()}


class _Sample(NamedTuple):
    """Terms (N,) of the records of one sample that are of groups with enough of them, and the groups' numbers (N,)."""

    values: Floats
    codes: NDArray[np.int64]


def _clearest(
    metric: str, samples: Sequence[Terms], of: Mapping[str, str], column: GroupColumn
) -> GroupDifference | None:
    """Test whether groups differ, by permuting their labels among the records of each sample.

    The statistic is the largest of |difference| / standard error over all pairs of groups, so that the p-value is
    that of having chosen the largest. Each pair has the standard error of its own two groups (Chung and Romano 2013,
    Annals of Statistics 41, 484): groups that vary more are not taken for groups that differ.
    """
    labels = [np.array([of.get(identifier, "") for identifier in ids]) for ids, _ in samples]
    counted = [dict(zip(*np.unique(each, return_counts=True), strict=True)) for each in labels]
    names = [
        name for name in sorted(counted[0]) if name and min(each.get(name, 0) for each in counted) >= column.min_records
    ]
    if len(names) < 2:
        return None
    numbers = {name: number for number, name in enumerate(names)}
    chosen = []
    for (_, values), each in zip(samples, labels, strict=True):
        codes = np.array([numbers.get(name, -1) for name in each])
        chosen.append(_Sample(values[codes >= 0], codes[codes >= 0]))
    means, variances = _moments(chosen, len(names))
    largest, one, other = _largest_pair(means, variances)
    rng = np.random.default_rng(0)
    times = 0
    for _ in range(PERMUTATIONS):
        permuted = [_Sample(sample.values, rng.permutation(sample.codes)) for sample in chosen]
        times += _largest_pair(*_moments(permuted, len(names)))[0] >= largest * (1 - 1e-12)
    higher, lower = (one, other) if means[one] >= means[other] else (other, one)
    p_value = (1 + times) / (1 + PERMUTATIONS)
    return GroupDifference(
        metric, names[higher], names[lower], float(means[higher] - means[lower]), p_value, len(names)
    )


def _moments(samples: Sequence[_Sample], groups: int) -> tuple[Floats, Floats]:
    """(G,) sums over the samples of the groups' means, and their variances.

    Each variance has one more record that lies as far off as records do: groups of equal values vary, too.
    """
    means, variances = np.zeros(groups), np.zeros(groups)
    for values, codes in samples:
        counts = np.bincount(codes, minlength=groups)
        own = np.bincount(codes, values, minlength=groups) / counts
        squares = np.bincount(codes, np.square(values - own[codes]), minlength=groups)
        spread = (squares + max(float(values.var()), 1e-30)) / counts
        means, variances = means + own, variances + spread / counts
    return means, variances


def _largest_pair(means: Floats, variances: Floats) -> tuple[float, int, int]:
    """The largest |difference| / standard error of all pairs, and the pair.

    By Cauchy and Schwarz z_ij^2 <= z_i^2 + z_j^2, with z of groups that of their distance from any common centre: only
    groups that can still exceed what the furthest ones reach are looked at.
    """
    alone = np.square(means - np.average(means, weights=1 / variances)) / variances
    order = np.argsort(-alone, kind="stable")
    best = _largest_among(order[:NEAR], means, variances)
    left = order[alone[order] + alone[order[0]] > best[0] ** 2]
    return best if len(left) <= NEAR else _largest_among(left, means, variances)


def _largest_among(places: NDArray[np.intp], means: Floats, variances: Floats) -> tuple[float, int, int]:
    centre, spread = means[places], variances[places]
    clear = np.abs(centre[:, None] - centre) / np.sqrt(spread[:, None] + spread)
    one, other = np.unravel_index(int(clear.argmax()), clear.shape)
    return float(clear[one, other]), int(places[one]), int(places[other])
