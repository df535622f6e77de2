"""What is known of samples crosses processes as whole numbers where it is such, and as JSON where it is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import torch

from dejavu_lightning.core.distributed import joined_integers, joined_lists, joined_words
from dejavu_lightning.embedding.host_samples import describe

JSON = "json"


def _is_number(fact: Any) -> bool:
    return type(fact) is int and -(1 << 63) <= fact < 1 << 63


def _is_list(fact: Any) -> bool:
    return type(fact) is list and all(map(_is_number, fact))


def _is_named_lists(fact: Any) -> bool:
    return type(fact) is dict and all(type(name) is str and _is_list(values) for name, values in fact.items())


FORMS: dict[str, Callable[[Any], bool]] = {"number": _is_number, "list": _is_list, "named lists": _is_named_lists}


def facts_form(facts: Sequence[Any]) -> str | None:
    """How the facts of one process can cross: a key of :data:`FORMS` or JSON; None where there are none.

    Raises:
        TypeError: JSON cannot hold them, or changes them, as it does tuples.
    """
    if not facts:
        return None
    for form, fits in FORMS.items():
        if all(map(fits, facts)):
            return form
    for fact in facts:
        try:
            kept = json.loads(json.dumps(fact)) == fact
        except (TypeError, ValueError):
            kept = False
        if not kept:
            raise TypeError(
                f"what is known of a sample cannot cross between processes: {describe(fact)}; expected a whole number, "
                "a list of them, a mapping of names to such lists, or anything else that JSON does not change"
            )
    return JSON


def joined_facts(facts: Sequence[Any], forms: set[str], count: int) -> list[Any]:
    """Concatenate the facts of all processes by rank.

    Args:
        facts: of this process.
        forms: those of all processes, by :func:`facts_form`.
        count: facts of all processes.
    """
    form = next(iter(forms)) if len(forms) == 1 else JSON  # which holds all others
    if form == "number":
        found: list[Any] = joined_integers(torch.tensor(facts, dtype=torch.int64)).tolist()
        return found
    if form == "list":
        return list(joined_lists(facts))
    if form == "named lists":
        names = sorted(set(joined_words(sorted({name for fact in facts for name in fact}))))
        columns = [joined_lists([fact.get(name) for fact in facts]) for name in names]
        rows = zip(range(count), *columns, strict=True)  # there may be no name
        return [{name: held for name, held in zip(names, row, strict=True) if held is not None} for _, *row in rows]
    return [json.loads(fact) for fact in joined_words([json.dumps(fact) for fact in facts])]


def by_row(values: Sequence[Any], batches: Sequence[range], processes: int) -> list[Any]:
    """Bring what all processes know of their batches, by process, into the order of the rows."""
    found: list[Any] = [None] * batches[-1].stop
    left = iter(values)
    for process in range(processes):
        for rows in batches[process::processes]:
            found[rows.start : rows.stop] = islice(left, len(rows))
    return found
