"""One measurement: the path that the training callback and the offline evaluator share."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from torch import nn

from dejavu_lightning.memorization.attack import MemorizationTest
from dejavu_lightning.memorization.compare import Comparison, compare
from dejavu_lightning.memorization.encoders import Encoder, ModuleEncoder, undisturbed
from dejavu_lightning.memorization.records import Records
from dejavu_lightning.memorization.references import Reference
from dejavu_lightning.memorization.sets import MemorizationSets


@dataclass(frozen=True)
class Measurement:
    """What one measurement found.

    ``metrics`` are those of the comparison, with the test's controls and their intervals where there are
    held-out records, and ``public`` and ``excluded`` counts.
    """

    metrics: dict[str, float]
    comparison: Comparison
    target: Records
    reference: Records


def measure(
    encoder: Encoder | nn.Module,
    test: MemorizationTest,
    reference: Reference,
    sets: MemorizationSets,
    epoch: int | None = None,
) -> Measurement:
    """Attack the target, attack or ask the reference, and compare.

    Every process of a distributed run must call it, and each gets the same numbers. A module, bare or behind a
    :class:`~dejavu_lightning.memorization.encoders.ModuleEncoder`, is left exactly as it was.

    Args:
        encoder: the target model; a bare module is taken as ``ModuleEncoder(module)``.
        test: how records are attacked.
        reference: what estimates the dataset-level correlation.
        sets: the attacked records and the public set.
        epoch: epochs the target has completed, for a reference that is a directory of checkpoints.
    """
    if isinstance(encoder, nn.Module):
        encoder = ModuleEncoder(encoder)
    with undisturbed(encoder.module) if isinstance(encoder, ModuleEncoder) else nullcontext():
        attack = test.prepare(encoder, sets)
        target = attack(sets.attack, "attack")
        found = reference.records(attack, epoch)
        comparison = compare(target, found.attack, paired=reference.paired)
        metrics = dict(comparison.metrics)
        if found.held_out is not None and sets.held_out is not None:
            control = compare(attack(sets.held_out, "held-out"), found.held_out).metrics
            for name, metric in test.controls.items():
                metrics |= {f"{name}{end}": control[f"{metric}{end}"] for end in ("", "_low", "_high")}
    excluded = sets.excluded + len(sets.attack) - len(target)
    metrics |= {"public": float(target.settings["public"]), "excluded": float(excluded)}
    return Measurement(metrics, comparison, target, found.attack)
