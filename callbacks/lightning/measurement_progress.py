"""Shows a measurement beside the trainer's own progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from lightning.pytorch import Trainer

from dejavu_lightning.core.progress.long_work import Advance, Show, nothing, shown_by, stage
from dejavu_lightning.core.progress.progress_display import display


@contextmanager
def measurement_progress(trainer: Trainer, name: str) -> Iterator[None]:
    """Show the long work inside the block where the trainer shows progress, on its first rank; ``name`` is whose."""
    with shown_by(_beside(trainer)), stage(name):
        yield


def _beside(trainer: Trainer) -> Show:
    own: Any = trainer.progress_bar_callback
    if own is None or not trainer.is_global_zero:
        return nothing
    # Of lightning or pytorch_lightning; two displays that are redrawn would write over each other.
    rich = getattr(own, "progress", None)
    if rich is not None and hasattr(rich, "live") and rich.live.is_started and rich.console.is_terminal:
        return _RichTasks(rich)
    return display


class _RichTasks:
    """Adds a line to the display of Lightning's ``RichProgressBar`` while there is work.

    Args:
        progress: the display, a ``rich.progress.Progress``.
    """

    def __init__(self, progress: Any) -> None:
        self.progress = progress

    @contextmanager
    def _task(self, description: str, total: int | None) -> Iterator[Advance]:
        task = self.progress.add_task(description, total=float("inf") if total is None else total)

        def advance(count: int) -> None:
            self.progress.advance(task, count)
            self.progress.refresh()

        try:
            yield advance
        finally:
            self.progress.remove_task(task)

    def __call__(self, description: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
        # Its stages would leave the columns of an ordinary terminal no room.
        return self._task(description.rpartition(": ")[2], total)
