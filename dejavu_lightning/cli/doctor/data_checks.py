"""What the data are: what was found and used, who is in which split, what can be attacked, copies, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from dejavu_lightning.cli.doctor.check_results import CheckResult
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.data.account import worded
from dejavu_lightning.data.partition.duplicates import Duplicates

FEW = 100  # attacked records, below which intervals are wide
LITTLE = 0.5  # share of the records that can be attacked, below which many are lost
EXAMPLES = 3


def check_files(data: Any) -> CheckResult:
    """What was found of the source, how much of it is used, and why the rest is not."""
    source = getattr(data, "source", None)
    if source is None and hasattr(data, "index"):
        source = data.index  # of shards
    if source is None:
        return CheckResult("data", f"{type(data).__name__} does not say what it is made of")
    account = getattr(source, "account", None)
    lines = [] if account is None else list(account.lines())
    counts: Mapping[str, int] = getattr(source, "counts", {})
    kind = type(getattr(source, "whole", source)).__name__
    told = [f"{kind}: {len(source.ids)} samples" if hasattr(source, "ids") else kind]
    names = getattr(source, "class_names", None)
    if names:
        told.append(f"{len(names)} classes")
    told += [f"{count} {worded(name)}" for name, count in counts.items() if count and name != "pictures"]
    text = "\n".join([", ".join(told), *lines])
    return CheckResult("data", text, "note" if lines else "ok", "look at the examples" if lines else "")


def check_splits(data: Any, settings: Mapping[str, Any]) -> list[CheckResult]:
    """The sizes of the splits, classes with fewer pictures than asked for, and pictures in two splits.

    Args:
        settings: of the datamodule.
    """
    manifest, source = getattr(data, "manifest", None), getattr(data, "source", None)
    if manifest is None or source is None:
        return []
    members: Mapping[str, Sequence[str]] = manifest.members
    sizes = ", ".join(f"{len(ids)} {split}" for split, ids in members.items() if len(ids))
    twice = [
        f"{len(both)} of {one} in {other} too, such as {min(both)!r}"
        for one, other in combinations(members, 2)
        if (both := set(members[one]) & set(members[other]))
    ]
    if twice:
        return [CheckResult("splits", f"{sizes}; {'; '.join(twice)}", "problem", "let every id be in one split only")]
    labels, names = getattr(source, "labels", None), getattr(source, "class_names", None)
    if labels is None or names is None:
        return [CheckResult("splits", sizes)]
    positions = manifest.positions(source.ids)
    of_a, shared = (
        np.bincount(np.asarray(labels)[positions[split]], minlength=len(names)) for split in ("A", "shared")
    )
    told = f"{sizes}; A has {int(of_a.min())} to {int(of_a.max())} of each class"
    asked = int(settings.get("per_class") or 0)
    short = np.flatnonzero(of_a + shared < asked).tolist()
    if not short:
        return [CheckResult("splits", told)]
    listed = ", ".join(f"{names[label]} {of_a[label] + shared[label]}" for label in short[:EXAMPLES])
    told += f"; {len(short)} of {len(of_a)} classes train on fewer than per_class={asked}, such as {listed}"
    return [CheckResult("splits", told, "note", "lower data.per_class for classes of one size, or add pictures")]


def check_sizes(data: Any) -> list[CheckResult]:
    """How large the pictures are beside what the encoder takes."""
    sizes = getattr(getattr(data, "source", None), "sizes", None)
    wanted = getattr(data, "image_size", None)
    known = np.zeros((0, 2)) if sizes is None else np.asarray(sizes)
    known = known[(known > 0).all(axis=1)] if known.ndim == 2 else np.zeros((0, 2))
    if not len(known) or wanted is None:
        return []
    sides = known.min(axis=1)
    told = f"shorter sides of {sides.min():.0f} to {sides.max():.0f} pixels, in the middle {np.median(sides):.0f}"
    small = float((sides < wanted).mean())
    if small > LITTLE:
        told += f"; {small:.0%} are smaller than image_size={wanted}"
        return [CheckResult("picture sizes", told, "note", "a smaller data.image_size blows up fewer of them")]
    return [CheckResult("picture sizes", f"{told}; the encoder takes {wanted}")]


def check_attacked(sets: MemorizationSets, settings: Mapping[str, Any], test: Any) -> list[CheckResult]:
    """How many records can be attacked, and whether the public set can answer for them."""
    attacked, lost = len(sets.attack), sets.excluded
    told = f"{attacked} records of the trained split can be attacked"
    found = []
    if lost:
        limit = settings.get("min_crop_side")
        told += f", {lost} leave no background wider and higher than min_crop_side={limit} pixels"
    held_out = 0 if sets.neither_split is None else len(sets.neither_split)
    told += f"; {held_out} held-out ones for the control, {len(sets.public)} public ones"
    if attacked < LITTLE * (attacked + lost):
        found.append(
            CheckResult("attacked records", told, "note", "lower data.min_crop_side; the sheet shows the crops")
        )
    elif attacked < FEW:
        found.append(CheckResult("attacked records", told, "note", "intervals will be wide; attack more records"))
    elif not held_out:
        found.append(
            CheckResult("attacked records", told, "note", "set data.held_out_per_class, or held_out, for a control")
        )
    else:
        found.append(CheckResult("attacked records", told))
    largest = largest_k(test)
    if largest > len(sets.public):
        wrong = f"k={largest} exceeds the public set of {len(sets.public)}"
        found.append(
            CheckResult("public set", wrong, "problem", "lower memorization.test.k, or leave more samples public")
        )
    wanted, offered = (_labels(samples) for samples in (sets.attack, sets.public))
    lacking = sorted(wanted - offered)
    if wanted and offered and lacking:
        names = sets.class_names or [str(label) for label in range(sets.num_classes)]
        listed = ", ".join(names[label] for label in lacking[:EXAMPLES])
        wrong = f"no public picture of {len(lacking)} attacked classes, such as {listed}"
        found.append(
            CheckResult("public set", wrong, "problem", "add public pictures of them, or lower data.per_class")
        )
    return found


def check_duplicates(data: Any) -> list[CheckResult]:
    """Pictures that are the same, and what becomes of them."""
    duplicates, manifest = getattr(data, "duplicates", None), getattr(data, "manifest", None)
    if manifest is None or not isinstance(duplicates, Duplicates):
        return []
    told = duplicates.told(manifest.positions(data.source.ids))
    return [CheckResult("duplicates", told or "no two pictures have the same bytes", "note" if told else "ok")]


def largest_k(test: Any) -> int:
    """The most neighbours that a test asks for, by its ``k`` and ``ks``; 0 where it says none."""
    given = [getattr(test, "k", None), *(getattr(test, "ks", None) or ())]
    return max((k for k in given if isinstance(k, int)), default=0)


def _labels(samples: Any) -> set[int]:
    labels = getattr(samples, "labels", None)
    return set() if labels is None else set(np.asarray(labels).tolist())
