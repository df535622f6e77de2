"""An answer that a reference need not give twice."""

from __future__ import annotations

import weakref
from typing import Any, Generic, TypeVar

from dejavu_lightning.core.distributed import gathered
from dejavu_lightning.core.sets import MemorizationSets

Answer = TypeVar("Answer")


class KeptAnswer(Generic[Answer]):
    """The latest answer, as long as the sets that it is of are used by someone else.

    Copies, and what is sent to other processes, begin without one.
    """

    def __init__(self) -> None:
        self._kept: tuple[weakref.ref[MemorizationSets], Any, Answer] | None = None

    def __reduce__(self) -> tuple[type[KeptAnswer[Answer]], tuple[()]]:
        return type(self), ()

    def find(self, sets: MemorizationSets, asked: Any) -> Answer | None:
        """The answer to what was asked of these very sets; None unless all processes have it. All must call it."""
        kept = self._kept
        same = kept is not None and kept[0]() is sets and kept[1] == asked
        return kept[2] if all(gathered(same)) and kept is not None else None

    def keep(self, sets: MemorizationSets, asked: Any, answer: Answer) -> Answer:
        """Keep an answer in place of the one before."""
        self._kept = (weakref.ref(sets, self._forget), asked, answer)
        return answer

    def _forget(self, gone: weakref.ref[MemorizationSets]) -> None:
        if self._kept is not None and self._kept[0] is gone:
            self._kept = None
