"""``--leave_out``: which samples a command measures on, and how it says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser

from dejavu_lightning.core.decision_part import DecisionPart, SampleCounts
from dejavu_lightning.core.samples import Samples, samples_at
from dejavu_lightning.core.sets import MemorizationSets

OPTION = "--leave_out"


def add_leave_out(parser: ArgumentParser) -> None:
    """Add the option to a parser."""
    parser.add_argument(
        OPTION,
        type=float | None,
        help="share of the samples that is left out, as MemorizationEarlyStopping(decide_on) takes it: those that "
        "decided in the run of a checkpoint if not given; a share to compare with such a run; 0 to measure on all",
    )


def chosen_part(asked: float | None, decided: Iterable[DecisionPart | None]) -> DecisionPart | None:
    """The samples to leave out, None for none.

    Args:
        asked: what the option says.
        decided: what the checkpoints say.

    Raises:
        SystemExit: naming the option, which is no share or would let samples judge that decided.
    """
    share = max((part.share for part in decided if part is not None), default=0.0)
    if asked is None:
        return DecisionPart(share) if share else None
    if asked == 0:
        if share:
            print(f"measured on all samples ({OPTION} 0): {share:g} of them decided when training stopped")
        return None
    if not share <= asked < 1 or asked < 0:
        decides = f", and at least {share:g}, the share that decided when training stopped" if share else ""
        raise SystemExit(f"error: {OPTION} must be 0, for all samples, or a share below 1{decides}; got {asked:g}")
    return DecisionPart(asked)


def judging_sets(sets: MemorizationSets, part: DecisionPart) -> tuple[MemorizationSets, dict[str, SampleCounts]]:
    """The sets without the attacked and the held-out records that decided, and how many of each did.

    Raises:
        ValueError: a set's samples have no ids, or all of them decided.
    """
    counts: dict[str, SampleCounts] = {}

    def judging(samples: Samples, role: str, name: str) -> Samples:
        ids = getattr(samples, "ids", None)
        if ids is None:
            raise ValueError(
                f"which samples of the {role} set decided when training stopped is told by their ids, and "
                f"{type(samples).__name__} has no attribute ids; give it one, or take all samples: {OPTION} 0"
            )
        counts[name] = part.count(ids)
        return samples_at(samples, np.flatnonzero(part.judges(ids, f"samples of the {role} set")))

    held_out, make = sets.neither_split, sets.in_preprocessing
    kept = replace(
        sets,
        in_preprocessing=make and (lambda other: judging_sets(make(other), part)[0]),
        attack=judging(sets.attack, "attack", "attacked"),
        neither_split=None if held_out is None else judging(held_out, "neither_split", "held_out"),
    )
    return kept, counts


def told_left_out(counts: Mapping[str, SampleCounts], part: DecisionPart) -> str:
    """Say in a line how many samples judge."""
    found = "; ".join(
        f"{name.replace('_', '-')}: {each.found} found = {each.judged} judged + {each.decided} decided"
        for name, each in counts.items()
    )
    return f"samples that decide when training stops are left out ({OPTION} {part.share:g}): {found}"


def stored_left_out(counts: Mapping[str, SampleCounts], part: DecisionPart | None) -> dict[str, Any] | None:
    """The same for a file of metrics."""
    return None if part is None else {"share": part.share, **{name: each._asdict() for name, each in counts.items()}}
