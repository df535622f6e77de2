"""What a check found: fine, a note, or a problem with its remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dejavu_lightning.cli.errors import DEBUG, explain

State = Literal["ok", "note", "problem"]
COLORS: dict[State, str] = {"ok": "green", "note": "yellow", "problem": "bold red"}


class CheckResult(NamedTuple):
    """What one check found.

    Attributes:
        check: its name.
        told: what it saw.
        state: "problem" where the run would fail or mean nothing, "note" where it is worth a thought.
        remedy: what to do about it.
    """

    check: str
    told: str
    state: State = "ok"
    remedy: str = ""


@contextmanager
def checking(check: str, found: list[CheckResult], remedy: str) -> Iterator[None]:
    """Turn what is raised inside the block into a problem, whose message mostly says more than ``remedy``."""
    try:
        yield
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        found.append(CheckResult(check, explain(error), "problem", remedy))


def print_results(found: Sequence[CheckResult]) -> None:
    """Print a table, and how many problems and notes there are."""
    table = Table("check", "", show_lines=True)
    for heading in ("found", "what to do"):
        table.add_column(heading, overflow="fold")
    for one in found:
        state = f"[{COLORS[one.state]}]{one.state}[/]"
        table.add_row(one.check, state, escape(one.told), escape(one.remedy))
    Console().print(table)
    counts = {state: sum(one.state == state for one in found) for state in ("problem", "note")}
    print(", ".join(f"{count} {state}{'s' * (count != 1)}" for state, count in counts.items()))
