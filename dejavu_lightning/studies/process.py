"""One run as a process: started, waited for, stopped, and its error found in what it printed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

ERROR = re.compile(r"(error:|[\w.]+(Error|Exception|Interrupt|Exit)\b).*")
GRACE = 10.0


@dataclass(frozen=True)
class Job:
    """A command to run.

    Attributes:
        command: program and arguments.
        log: file that what it prints is appended to.
        environment: added to that of this process.
        without: names left out of the environment.
    """

    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """How a job ended; ``error`` is one line, None of a success."""

    seconds: float
    error: str | None


class Attempt:
    """A job that has been started, with whatever processes it starts in turn."""

    def __init__(self, job: Job) -> None:
        self.log = job.log
        self.log.parent.mkdir(parents=True, exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if name not in job.without}
        with self.log.open("ab") as log:
            self._begins = log.tell()
            self._since = time.monotonic()
            # A session of its own: the terminal's Ctrl-C is for the study, which then stops all that is in there.
            self._process = subprocess.Popen(
                job.command,
                env=kept | job.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def outcome(self) -> Outcome | None:
        """None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        return Outcome(time.monotonic() - self._since, self._error(code) if code else None)

    def wait(self) -> Outcome:
        """Until it has ended."""
        while (outcome := self.outcome()) is None:
            time.sleep(0.1)
        return outcome

    def stop(self) -> None:
        """End it and what it started: politely, then not."""
        deadline = time.monotonic() + GRACE
        self._signal(signal.SIGTERM)
        while self._signal(0) and time.monotonic() < deadline:
            self._process.poll()
            time.sleep(0.05)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> bool:
        """Whether any process of the session is left to receive it."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True

    def _error(self, code: int) -> str:
        with self.log.open("rb") as log:
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
