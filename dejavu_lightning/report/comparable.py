"""Whether runs can be compared at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dejavu_lightning.report.runs import Run

LISTED = 5  # names that an error lists
BESIDE = ("ks", "layers")  # what is measured besides, which changes no gap


class Candidate(NamedTuple):
    """A run by the name that errors call it; of one seed all must have attacked the same records."""

    name: str
    seed: int | None
    run: Run


def check_comparable(candidates: Sequence[Candidate]) -> None:
    """Refuse runs whose numbers mean different things.

    Raises:
        ValueError: they were made with other settings or against references of different kinds, or those of one seed
            attacked other records.
    """
    _same_kind_of_reference(candidates)
    first: dict[int | None, Candidate] = {}
    for candidate in candidates:
        _same_settings(candidates[0], candidate)
        _same_records(first.setdefault(candidate.seed, candidate), candidate)


def _same_kind_of_reference(candidates: Sequence[Candidate]) -> None:
    """Gaps to references of two kinds are no estimates of one quantity."""
    kinds: dict[str, list[str]] = {}
    for candidate in candidates:
        name = repr(candidate.name)
        if name not in kinds.setdefault(candidate.run.reference_kind, []):
            kinds[candidate.run.reference_kind].append(name)
    if len(kinds) > 1:
        lines = [f"  {kind}: {', '.join(names[:LISTED])}{_more(names)}" for kind, names in kinds.items()]
        raise ValueError(
            "the runs cannot be compared, they have references of different kinds, whose gaps are other quantities:\n"
            + "\n".join(lines)
            + "\nwrite one report for each kind, or measure all against the same with evaluate.py memorization"
        )


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - LISTED} more" if len(names) > LISTED else ""


def _same_settings(known: Candidate, other: Candidate) -> None:
    ours, theirs = known.run.target.settings, other.run.target.settings
    differing = [key for key in (ours | theirs) if ours.get(key) != theirs.get(key) and key not in BESIDE]
    if "test" in differing:
        differing = ["test"]
    if differing:
        listed = ", ".join(f"{key}: {ours.get(key)} against {theirs.get(key)}" for key in differing)
        raise ValueError(
            f"{known.name!r} and {other.name!r} cannot be compared, they were measured differently ({listed}; "
            f"{known.run.folder} against {other.run.folder})"
        )


def _same_records(known: Candidate, other: Candidate) -> None:
    ours, theirs = _truth(known.run), _truth(other.run)
    if ours == theirs:
        return
    lost, extra = [id for id in ours if id not in theirs], [id for id in theirs if id not in ours]
    if lost or extra:
        difference = (
            f"{len(lost)} of {len(ours)} records only in the first (such as {lost[:2]}), {len(extra)} of "
            f"{len(theirs)} only in the second (such as {extra[:2]})"
        )
    else:
        at = next(id for id in ours if ours[id] != theirs[id])
        difference = f"record {at!r} is of {ours[at]} in the first, of {theirs[at]} in the second"
    raise ValueError(
        f"{known.name!r} and {other.name!r} cannot be compared, they have different attack sets: {difference}; "
        f"{known.run.folder} against {other.run.folder}. Of other seeds, make a study, whose study.json tells the seeds"
    )


def _truth(run: Run) -> dict[str, Any]:
    table = run.target.table
    truth = table[run.display.truth].to_pylist() if run.display.truth else [None] * table.num_rows
    return dict(zip(table["id"].to_pylist(), truth, strict=True))
