"""One measurement: the path that the training callback and the offline evaluator share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from torch import nn

from dejavu_lightning.core.decision_part import DecisionPart, SampleCounts
from dejavu_lightning.core.distributed import failing_together, shared_work
from dejavu_lightning.core.estimate import Estimate, flatten
from dejavu_lightning.core.progress.long_work import stage, tracked
from dejavu_lightning.core.records import Records
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.encoders import Encoder, ModuleEncoder, preserve_state
from dejavu_lightning.memorization.agreement import Agreement, agreement
from dejavu_lightning.memorization.compare import compare, control, headline, net, net_terms
from dejavu_lightning.memorization.group_column import GroupColumn, check_groups, read_groups_of
from dejavu_lightning.memorization.groups import Breakdown, break_down
from dejavu_lightning.memorization.protocols import Comparison, MemorizationTest, Reference, ReferenceRecords
from dejavu_lightning.memorization.statistics import Terms


@dataclass(frozen=True)
class Measurement:
    """The numbers and the records of one measurement of memorization.

    Args:
        estimates: those of the comparison, with the test's controls and net estimates where there are held-out
            records, and the counts ``public`` and ``excluded``; those of extra references as ``<name>/<metric>``, and
            the share of records of which two references say the same as ``agreement/<one>/<other>``.
        comparison: target against reference.
        target, reference: their records.
        headline: the estimate that sums it up, see :func:`~dejavu_lightning.memorization.compare.headline`.
        gaps: what the records add to each gap and net estimate.
        extra_references: the measurement with each extra reference by its name.
        agreement: what the references say of the same records, pair by pair.
        left_out: how many records of each set decided and were left out, where some were.
        groups: the same of each group of records, where a column of groups was given.

    Example:
        >>> from torch import tensor
        >>> from dejavu_lightning.memorization import HeldOut, LabelInference, MemorizationSets
        >>> points = [(tensor([0.1]), 0), (tensor([0.9]), 1)]
        >>> sets = MemorizationSets(points, public=points, other_split=points[::-1], num_classes=2)
        >>> found = measure(lambda x: x, LabelInference(k=1), HeldOut(), sets)
        >>> found.headline, found.estimates["target_accuracy"].value, found.target.ids
        ('score', 1.0, ['attack/0', 'attack/1'])
    """

    estimates: dict[str, Estimate]
    comparison: Comparison
    target: Records
    reference: Records
    headline: str
    gaps: Mapping[str, tuple[Terms, ...]] = field(default_factory=dict)
    extra_references: Mapping[str, Measurement] = field(default_factory=dict)
    agreement: Sequence[Agreement] = ()
    left_out: Mapping[str, SampleCounts] = field(default_factory=dict)
    groups: Breakdown | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """The estimates as they are logged, see :func:`~dejavu_lightning.core.estimate.flatten`."""
        return flatten(self.estimates)


def measure(
    encoder: Encoder | nn.Module,
    test: MemorizationTest,
    reference: Reference,
    sets: MemorizationSets,
    epoch: int | None = None,
    extra_references: Mapping[str, Reference] | None = None,
    leave_out: DecisionPart | None = None,
    groups: GroupColumn | None = None,
    *,
    distributed: bool = True,
) -> Measurement:
    """Attack the target, attack or ask the reference, and compare: one measurement of memorization.

    The processes of a distributed run share the work: every one must call it, and each gets the same numbers, those of
    the first one's buffers. A module, bare or behind a :class:`~dejavu_lightning.embedding.encoders.ModuleEncoder`, is
    left exactly as it was.

    Args:
        encoder: the target model; a bare module is taken as ``ModuleEncoder(module)``.
        test: how records are attacked.
        reference: what estimates the dataset-level correlation.
        sets: the attacked records and the public set.
        epoch: epochs the target has completed, for a reference that is a directory of checkpoints.
        extra_references: further references by name, each compared with the same attack of the target.
        leave_out: the records that decided when the target, or a reference, stopped training: what chose a model must
            not judge it.
        groups: a column of groups, by which all of it is broken down, see
            :func:`~dejavu_lightning.memorization.groups.break_down`.
        distributed: whether processes share the work; False where only some call it, as after ``if rank == 0:``.

    Raises:
        ValueError: ``leave_out`` are all records of a set, or ``groups`` has fewer than two of attacked records.
        TimeoutError: not all processes came.

    Example:
        >>> from torch import nn
        >>> from dejavu_lightning.data import ImageDataModule, Scenes
        >>> from dejavu_lightning.memorization import HeldOut, LabelInference
        >>> sets = ImageDataModule(Scenes(200), per_class=4, min_crop_side=8).memorization_sets()
        >>> metrics = measure(nn.Flatten(), LabelInference(k=5), HeldOut(), sets).metrics  # pixels remember nothing
        >>> metrics["score_low"] < 0 < metrics["score_high"]
        True
    """
    if isinstance(encoder, nn.Module):
        encoder = ModuleEncoder(encoder)
    references = named_references(reference, extra_references)
    kept = preserve_state(encoder.module) if isinstance(encoder, ModuleEncoder) else nullcontext()
    of: dict[str, str] = {}
    with shared_work(distributed), kept:
        if groups is not None:
            with failing_together():
                of = read_groups_of(groups, sets)
        attack = test.prepare(encoder, sets)
        target = attack(sets.attack, "attack")
        answers = {}
        for name, asked in references.items():
            with stage(f"reference {name}"):
                answers[name] = _signed(asked, asked.records(attack, epoch))
        controlled = any(answer.neither_split is not None for answer in answers.values())
        held_out = attack(sets.neither_split, "held-out") if controlled and sets.neither_split is not None else None
    excluded = sets.excluded + len(sets.attack) - len(target)
    left_out: dict[str, SampleCounts] = {}
    if leave_out is not None:
        unseen = {} if held_out is None else {"held_out": held_out}
        unpaired = {name: answers[name].attack for name, asked in references.items() if not asked.paired}
        counted = {"attacked": target, **unseen, **unpaired}
        left_out = {name: leave_out.count(records.ids) for name, records in counted.items()}
        target, held_out = target.judging(leave_out), None if held_out is None else held_out.judging(leave_out)
        answers = {name: answer.judging(leave_out) for name, answer in answers.items()}
    if groups is not None:
        check_groups(groups, of, target.ids)
    first, *others = (
        _against(answers[name], target, held_out, asked.paired, test, groups, of)
        for name, asked in tracked(references.items(), "comparing target and reference", "reference")
    )
    _, *names = references
    further = dict(zip(names, others, strict=True))
    counts = {"public": Estimate(float(len(sets.public))), "excluded": Estimate(float(excluded))}
    named = {
        f"{name}/{metric}": estimate
        for name, found in further.items()
        for metric, estimate in found.estimates.items()
        if metric != "records" and not metric.startswith("target_")
    }
    agreed = agreement(
        {name: found.comparison for name, found in zip(references, (first, *others), strict=True)}, test.display
    )
    agreeing = {f"agreement/{pair.first}/{pair.second}": Estimate(pair.agreement) for pair in agreed}
    estimates = {**first.estimates, **counts, **named, **agreeing}
    return replace(first, estimates=estimates, extra_references=further, agreement=agreed, left_out=left_out)


def named_references(reference: Reference, extra_references: Mapping[str, Reference] | None) -> dict[str, Reference]:
    """All references by name, the first by that of its class.

    Raises:
        ValueError: a name is taken, or does not serve as part of a metric's name and as that of a folder.
    """
    first = type(reference).__name__
    for name in extra_references or {}:
        if name == first or not re.fullmatch(r"\w[\w ,()-]*", name):
            raise ValueError(
                f"extra_references: {name!r} must be a name of letters, digits, spaces and - _ , ( ), other than "
                f"{first!r}, the first's"
            )
    return {first: reference, **(extra_references or {})}


def check_references(
    reference: Reference,
    extra_references: Mapping[str, Reference] | None,
    test: MemorizationTest,
    sets: MemorizationSets,
    epochs: list[int],
) -> None:
    """Raise now what a measurement in one of these epochs would raise later.

    Raises:
        TypeError: a reference cannot serve this test.
        ValueError, FileNotFoundError: what a reference needs is not there, or names are taken.
    """
    for asked in named_references(reference, extra_references).values():
        asked.check(test, sets, epochs)


def _signed(asked: Reference, answer: ReferenceRecords) -> ReferenceRecords:
    """Say in the settings of the records what kind of reference made them."""
    records = answer.attack
    return answer._replace(attack=replace(records, settings={**records.settings, "reference": asked.kind}))


def _against(
    answer: ReferenceRecords,
    target: Records,
    held_out: Records | None,
    paired: bool,
    test: MemorizationTest,
    groups: GroupColumn | None,
    of: Mapping[str, str],
) -> Measurement:
    """Compare, and compare on held-out records, whose target records are ``held_out``: what only a control may find."""
    comparison = compare(target, answer.attack, paired=paired)
    estimates, gaps = dict(comparison.estimates), dict(comparison.gaps)
    if answer.neither_split is not None and held_out is not None:
        unseen = compare(held_out, answer.neither_split)
        estimates |= control(unseen) | net(comparison, unseen)
        gaps |= net_terms(comparison, unseen)
    summed_up = headline(test, estimates)
    measured = Measurement(estimates, comparison, target, answer.attack, summed_up, gaps)
    if groups is None:
        return measured
    shown = (name for found in test.display.shown_gaps(gaps) for name in (found[0], found[2]) if name)
    tested = {name: gaps[name] for name in (summed_up, *shown)}
    parts = break_down(groups, of, target, answer, held_out, paired, tested)
    for one in parts.differences:
        if one.metric == summed_up:
            estimates["group_difference"] = Estimate(one.difference, p_value=one.p_value)
    return replace(measured, groups=parts)
