"""Say how far long work is; nothing is shown unless somebody asked.

Whoever works counts, whoever asked decides how that is shown, and neither knows the other:

>>> from contextlib import contextmanager
>>> @contextmanager
... def printed(description, total, unit):
...     yield lambda count: print(f"{description}: {count} of {total} {unit}s more")
>>> with shown_by(printed), stage("target"), long_work("embedding the public set", 10, "sample") as advance:
...     advance(4)
target: embedding the public set: 4 of 10 samples more
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Advance = Callable[[int], object]
Show = Callable[[str, int | None, str], AbstractContextManager[Advance]]

_SHOW: ContextVar[Show | None] = ContextVar("_SHOW", default=None)
_STAGES: ContextVar[tuple[str, ...]] = ContextVar("_STAGES", default=())


def nothing(*_: object) -> AbstractContextManager[Advance]:
    """Show no work, whatever it is."""
    return nullcontext(_uncounted)


@contextmanager
def long_work(description: str, total: int | None, unit: str, unasked: Show = nothing) -> Iterator[Advance]:
    """Show the work inside the block, to whoever asked, and give the function that counts what is done of it.

    Args:
        description: what is done, such as "embedding the public set".
        total: how much there is to do; None where nobody can tell.
        unit: of what, in the singular.
        unasked: shows it where nobody said anything.
    """
    show = _SHOW.get()
    told = ": ".join((*_STAGES.get(), description))
    with (unasked if show is None else show)(told, total, unit) as advance:
        yield advance


def tracked(items: Collection[Item], description: str, unit: str, unasked: Show = nothing) -> Iterator[Item]:
    """The items one by one, each counted once it is done with; arguments as in :func:`long_work`."""
    with long_work(description, len(items), unit, unasked) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def shown_by(show: Show) -> Iterator[None]:
    """Ask that the long work inside the block is shown this way."""
    token = _SHOW.set(show)
    try:
        yield
    finally:
        _SHOW.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Put a name before what the long work inside the block is called."""
    token = _STAGES.set((*_STAGES.get(), name))
    try:
        yield
    finally:
        _STAGES.reset(token)


def _uncounted(count: int) -> None:
    """Nobody looks."""
