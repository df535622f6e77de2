"""Run commands as processes, so many at once; stop them with all that they started; find their errors in their logs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

ERROR = re.compile(r"(error:|[\w.]+(Error|Exception|Interrupt|Exit)\b).*")
GRACE = 10.0

Key = TypeVar("Key")
Startable = TypeVar("Startable")


@dataclass(frozen=True)
class Job:
    """A command to run.

    Attributes:
        command: program and arguments.
        log: file that what it prints is appended to.
        environment: added to that of this process.
    """

    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)


class Outcome(NamedTuple):
    """How a job ended; ``error`` is one line, None of a success."""

    seconds: float
    error: str | None


class StartedJob(Protocol):
    """A job that was started, on this machine or on a cluster."""

    def outcome(self) -> Outcome | None:
        """How it ended; None while it runs."""

    def stop(self) -> None:
        """End it and what it started."""


def run_jobs(
    jobs: Mapping[Key, Startable], start: Callable[[Startable], StartedJob], at_once: int, poll: float = 0.1
) -> Generator[tuple[Key, Outcome], None, None]:
    """Start the jobs in their order, so many at once, and yield the outcome of each as it ends.

    Jobs that still run when the caller stops asking, or is interrupted, are stopped.

    Args:
        jobs: what ``start`` takes, such as a :class:`Job` for :class:`JobProcess`.
        start: starts one.
        at_once: how many may run at a time.
        poll: seconds between two looks.
    """
    waiting = list(jobs.items())
    running: dict[Key, StartedJob] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                key, startable = waiting.pop(0)
                running[key] = start(startable)
            for key, started in list(running.items()):
                outcome = started.outcome()
                if outcome is not None:
                    del running[key]
                    yield key, outcome
            if running:
                time.sleep(poll)
    finally:
        with ExitStack() as stack:  # all of them, also where a second Ctrl-C interrupts the stopping of one
            for started in running.values():
                stack.callback(started.stop)


class JobProcess:
    """A :class:`Job` as a process of this machine, with whatever processes it starts in turn."""

    def __init__(self, job: Job) -> None:
        self._log = job.log
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._begins = log.tell()
            self._since = time.monotonic()
            # A session of its own: the terminal's Ctrl-C is for the study, which then stops all that is in there.
            self._process = subprocess.Popen(
                job.command,
                env=os.environ | job.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def outcome(self) -> Outcome | None:
        """How it ended; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        seconds = time.monotonic() - self._since
        self.stop()  # what a killed job leaves would keep the device, and its folder's lock, from the next
        return Outcome(seconds, self._error(code) if code else None)

    def stop(self) -> None:
        """End it and what it started: politely, then not."""
        deadline = time.monotonic() + GRACE
        self._signal(signal.SIGTERM)
        try:
            while self._signal(0) and time.monotonic() < deadline:
                self._process.poll()
                time.sleep(0.05)
        finally:  # a second Ctrl-C ends the wait
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, number: int) -> bool:
        """Send a signal to all processes of the session; False if none is left."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True

    def _error(self, code: int) -> str:
        with self._log.open("rb") as log:
            log.seek(self._begins)
            lines = [line.rstrip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        last = next((at for at in reversed(range(len(lines))) if ERROR.match(lines[at].strip())), None)
        if last is None:
            return lines[-1].strip() if lines else f"ended with code {code} and said nothing"
        # jsonargparse's says on indented lines below it what it is about.
        below = list(takewhile(lambda line: line[0].isspace(), lines[last + 1 :])) if lines[last].endswith(":") else []
        return " ".join(line.strip() for line in [lines[last], *below])
