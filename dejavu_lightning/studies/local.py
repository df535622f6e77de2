"""Runs on this machine, so many at once."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from typing import TypeVar

from dejavu_lightning.studies.process import Attempt, Job, Outcome

Key = TypeVar("Key")


def run_local(jobs: Mapping[Key, Job], at_once: int) -> Generator[tuple[Key, Outcome], None, None]:
    """Hand back the outcome of each job as it ends.

    Jobs that still run when the caller stops asking, or is interrupted, are stopped with all their processes.

    Args:
        jobs: in the order of their starts.
        at_once: how many may run at a time.
    """
    waiting = list(jobs.items())
    running: dict[Key, Attempt] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                key, job = waiting.pop(0)
                running[key] = Attempt(job)
            for key, attempt in list(running.items()):
                outcome = attempt.outcome()
                if outcome is not None:
                    del running[key]
                    yield key, outcome
            time.sleep(0.1)
    finally:
        for attempt in running.values():
            attempt.stop()
