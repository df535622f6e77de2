"""Ways to show long work: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Literal, get_args

from tqdm.auto import tqdm

from dejavu_lightning.core.progress.long_work import Advance, Show, nothing

Way = Literal["bars", "lines", "none"]
WAYS = get_args(Way)
VARIABLE = "DEJAVU_LIGHTNING_PROGRESS"  # a way, for this process and those it starts
EVERY = 30.0  # seconds between lines
PATIENCE = 2.0  # seconds of work that nobody needs to hear of
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")  # of launchers; the first process has 0 in all that are set


def chosen_way() -> Way:
    """How this process shows progress: as the environment says, else bars on a terminal and lines in a log."""
    if any(os.environ.get(name, "0") != "0" for name in RANKS):
        return "none"
    asked = os.environ.get(VARIABLE)
    return next((way for way in WAYS if way == asked), "bars" if sys.stderr.isatty() else "lines")


def display(description: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
    """Show long work in the way that is chosen."""
    ways: dict[Way, Show] = {"bars": bar, "lines": LINES, "none": nothing}
    return ways[chosen_way()](description, total, unit)


@contextmanager
def bar(description: str, total: int | None, unit: str, delay: float = 0.0) -> Iterator[Advance]:
    """Show a bar with the time left, which goes when the work is done."""
    with tqdm(total=total, desc=description, unit=unit, leave=False, dynamic_ncols=True, delay=delay) as shown:
        yield shown.update


def patient_bar(description: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
    """Show a bar, on a terminal alone, of work that takes more than seconds."""
    if chosen_way() == "none" or not sys.stderr.isatty():
        return nothing(description, total, unit)
    return bar(description, total, unit, PATIENCE)


class Line:
    """Work that a log is told of.

    Args:
        lines: whose turn it is to write.
        description, total, unit: as in :func:`~dejavu_lightning.core.progress.long_work.long_work`.
        initial: how much was done before.
    """

    def __init__(self, lines: LogLines, description: str, total: int | None, unit: str, initial: int = 0) -> None:
        self.lines, self.description, self.total, self.unit = lines, description, total, unit
        self.initial = self.done = initial
        self.begun = lines.clock()

    def advance(self, count: int, note: str = "") -> None:
        """Count, and write a line if one is due; ``note`` stands at its end."""
        self.done += count
        now = self.lines.clock()
        if self.done != self.total and self.lines.due(now):
            of, left = "", ""
            if self.total:
                of = f" of {self.total}"
                each = (now - self.begun) / max(self.done - self.initial, 1)
                left = f", {_clock(each * max(self.total - self.done, 0))} left"
            self.lines.write(f"{self.description}: {self.done}{of} {self.unit}s{left}{note and ', '}{note}")


class LogLines:
    """Writes a line when ``seconds`` have passed since the last one, whatever the work is.

    Args:
        write: takes a line; the error stream if not given.
        clock: tells seconds.
    """

    def __init__(
        self,
        write: Callable[[str], object] | None = None,
        seconds: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.write = write or _to_stderr
        self.seconds, self.clock = seconds, clock
        self._told = clock()

    def due(self, now: float) -> bool:
        """Whether it is time for a line; if so, the next is due so many seconds later."""
        if now - self._told < self.seconds:
            return False
        self._told = now
        return True

    @contextmanager
    def __call__(self, description: str, total: int | None, unit: str) -> Iterator[Advance]:
        """Show work, as :data:`~dejavu_lightning.core.progress.long_work.Show` does."""
        yield Line(self, description, total, unit).advance


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


LINES = LogLines()  # of this process
