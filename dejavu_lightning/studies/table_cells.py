"""Cells that the tables of a study share, in files and on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from dejavu_lightning.core.estimate import Estimate

FILE_WIDTH = 170  # columns of a table that goes into a file, and from which on a row takes one line


def table_console() -> tuple[Console, str]:
    """The console to print a table on, and what stands between a value and its interval there."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_WIDTH)
    return console, " " if console.width >= FILE_WIDTH else "\n"


def file_cells(name: str, found: Estimate | None) -> dict[str, float | None]:
    """The columns ``<name>``, ``<name>_low`` and ``<name>_high`` of a CSV file."""
    mean, low, high = found[:3] if found else (None, None, None)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}


def shown(found: Estimate | None, sign: str, between: str, digits: int = 3) -> str:
    """A value with its interval for the terminal, empty where there is none."""
    if found is None:
        return ""
    form = f"{sign}.{digits}f"
    ends = "" if found.low is None else escape(f"{between}[{found.low:{form}}, {found.high:{form}}]")
    return f"{found.value:{form}}{ends}"
