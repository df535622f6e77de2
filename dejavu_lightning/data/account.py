"""What became of everything that a source found: used, or left out for a reason, with examples of what was odd."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

EXAMPLES = 3


class Account:
    """How many things were found, and how many of each kind of oddity; the sums add up.

    Args:
        unit: what was found, in the plural, such as "files".
        found: how many, told by a count of its own.
        counts: how many are used, under ``pictures``, and how many of each kind.
        left_out: those of the kinds that are not used, each thing under one of them.
        examples: the first of each kind that is odd, such as ids.

    Raises:
        RuntimeError: what was found is more, or less, than what is used and left out.
    """

    def __init__(
        self,
        unit: str,
        found: int,
        counts: Mapping[str, int],
        left_out: Iterable[str] = (),
        examples: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.unit, self.found, self.counts, self.left_out = unit, found, dict(counts), list(left_out)
        self.examples = {kind: list(some)[:EXAMPLES] for kind, some in (examples or {}).items()}
        lost = found - counts["pictures"] - sum(counts.get(kind, 0) for kind in self.left_out)
        if lost:
            raise RuntimeError(f"{lost} of {found} {unit} are neither used nor left out for a reason: {self.counts}")

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Account:
        """The account that :meth:`stored` was of."""
        return cls(**stored)

    def stored(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return vars(self)

    def lines(self) -> list[str]:
        """What was left out, in one line, and a line for each kind of oddity, with its count and examples."""
        left = [f"{self.counts[kind]} {worded(kind)}" for kind in self.left_out if self.counts.get(kind)]
        lines = (
            [f"{self.found} {self.unit} found = {self.counts['pictures']} used + {' + '.join(left)}"] if left else []
        )
        lines += [
            f"{self.counts[kind]} {worded(kind)}, such as {', '.join(some)}"
            for kind, some in self.examples.items()
            if self.counts.get(kind) and some
        ]
        return lines


def worded(kind: str) -> str:
    """The name of a count, as people read it."""
    return kind.replace("_", " ")


def printable(name: str) -> str:
    """A file's name, or if that is not UTF-8 the bytes of it, as messages and files can hold it."""
    return name if is_utf8(name) else repr(os.fsencode(name))


def is_utf8(name: str) -> bool:
    """Whether a file's name can be written as UTF-8; Python stands in for other bytes with halves of characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
