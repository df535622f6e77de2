"""One measurement: the path that the training callback and the offline evaluator share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from torch import nn

from dejavu_lightning.core.records import Records
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.encoders import Encoder, ModuleEncoder, preserve_state
from dejavu_lightning.memorization.agreement import Agreement, agreement
from dejavu_lightning.memorization.compare import Comparison, compare
from dejavu_lightning.memorization.protocols import MemorizationTest
from dejavu_lightning.memorization.references.second_model import Reference, ReferenceRecords


@dataclass(frozen=True)
class Measurement:
    """What one measurement found.

    ``metrics`` are those of the comparison, with the test's controls and their intervals where there are
    held-out records, and ``public`` and ``excluded`` counts; those of further references as ``<name>/<metric>``,
    and the share of records of which two references say the same as ``agreement/<one>/<other>``.
    ``also`` has the measurement with each further reference by its name, ``agreement`` what the references
    say of the same records, pair by pair.
    """

    metrics: dict[str, float]
    comparison: Comparison
    target: Records
    reference: Records
    also: Mapping[str, Measurement] = field(default_factory=dict)
    agreement: Sequence[Agreement] = ()


def measure(
    encoder: Encoder | nn.Module,
    test: MemorizationTest,
    reference: Reference,
    sets: MemorizationSets,
    epoch: int | None = None,
    also: Mapping[str, Reference] | None = None,
) -> Measurement:
    """Attack the target, attack or ask the reference, and compare.

    Every process of a distributed run must call it, and each gets the same numbers. A module, bare or behind a
    :class:`~dejavu_lightning.embedding.encoders.ModuleEncoder`, is left exactly as it was.

    Args:
        encoder: the target model; a bare module is taken as ``ModuleEncoder(module)``.
        test: how records are attacked.
        reference: what estimates the dataset-level correlation.
        sets: the attacked records and the public set.
        epoch: epochs the target has completed, for a reference that is a directory of checkpoints.
        also: further references by name, each compared with the same attack of the target.
    """
    if isinstance(encoder, nn.Module):
        encoder = ModuleEncoder(encoder)
    references = named_references(reference, also)
    with preserve_state(encoder.module) if isinstance(encoder, ModuleEncoder) else nullcontext():
        attack = test.prepare(encoder, sets)
        target = attack(sets.attack, "attack")
        answers = {name: asked.records(attack, epoch) for name, asked in references.items()}
        controlled = sets.neither_split if any(answer.held_out is not None for answer in answers.values()) else None
        unseen = None if controlled is None else attack(controlled, "held-out")
        first, *further = (
            _against(answers[name], target, unseen, asked.paired, test.controls) for name, asked in references.items()
        )
    _, *names = references
    excluded = sets.excluded + len(sets.attack) - len(target)
    counts = {"public": float(target.settings["public"]), "excluded": float(excluded)}
    named = {
        f"{name}/{metric}": value
        for name, found in zip(names, further, strict=True)
        for metric, value in found.metrics.items()
        if metric != "records" and not metric.startswith("target_")
    }
    comparisons = {name: found.comparison for name, found in zip(references, (first, *further), strict=True)}
    agreed = agreement(comparisons)
    agreeing = {f"agreement/{pair.first}/{pair.second}": pair.agreement for pair in agreed}
    return replace(
        first,
        metrics={**first.metrics, **counts, **named, **agreeing},
        also=dict(zip(names, further, strict=True)),
        agreement=agreed,
    )


def named_references(reference: Reference, also: Mapping[str, Reference] | None) -> dict[str, Reference]:
    """All references by name, the first by that of its class.

    Raises:
        ValueError: a name is taken, or does not serve as part of a metric's name and as that of a folder.
    """
    first = type(reference).__name__
    for name in also or {}:
        if name == first or not re.fullmatch(r"\w[\w ,()-]*", name):
            raise ValueError(
                f"also: {name!r} must be a name of letters, digits, spaces and - _ , ( ), other than {first!r}, the "
                "first's"
            )
    return {first: reference, **(also or {})}


def check_references(
    reference: Reference,
    also: Mapping[str, Reference] | None,
    test: MemorizationTest,
    sets: MemorizationSets,
    epochs: list[int],
) -> None:
    """Raise now what a measurement in one of these epochs would raise later.

    Raises:
        TypeError: a reference cannot serve this test.
        ValueError, FileNotFoundError: what a reference needs is not there, or names are taken.
    """
    for asked in named_references(reference, also).values():
        serves = getattr(asked, "serves", test.name)
        if serves != test.name:
            raise TypeError(
                f"{type(asked).__name__} cannot be the reference of {type(test).__name__}: it is made for tests of "
                f"{serves.replace('_', ' ')}"
            )
        asked.check(sets, epochs)


def _against(
    answer: ReferenceRecords, target: Records, unseen: Records | None, paired: bool, controls: Mapping[str, str]
) -> Measurement:
    """Compare, and compare on held-out records, ``unseen`` the target's, what only a control may find."""
    comparison = compare(target, answer.attack, paired=paired)
    metrics = dict(comparison.metrics)
    if answer.held_out is not None and unseen is not None:
        control = compare(unseen, answer.held_out).metrics
        for name, metric in controls.items():
            metrics |= {f"{name}{end}": control[f"{metric}{end}"] for end in ("", "_low", "_high")}
    return Measurement(metrics, comparison, target, answer.attack)
