"""The numbers of a measurement, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

ROWS = (
    ("target accuracy", "target_accuracy"),
    ("reference accuracy", "reference_accuracy"),
    ("déjà vu score", "score"),
    ("déjà vu score @ 20% most confident", "score@20"),
    ("déjà vu score @ 5% most confident", "score@5"),
    ("symmetric average of the score", "symmetric_score"),
    ("control: score on held-out records", "control"),
    ("memorized", "memorized"),
    ("correlated", "correlated"),
    ("misrepresented", "misrepresented"),
    ("unassociated", "unassociated"),
)


def print_table(metrics: Mapping[str, float], title: str) -> None:
    """Print what ``metrics`` holds of the rows above, with 95% intervals."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95% interval", justify="center")
    for label, name in ROWS:
        if name not in metrics:
            continue
        signed = "+" if "score" in name or name == "control" else ""
        low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
        ends = "" if low is None or high is None else f"[{low:{signed}.3f}, {high:{signed}.3f}]"
        table.add_row(label, f"{metrics[name]:{signed}.3f}", ends.replace("[", r"\["))
    counts = f"{metrics.get('records', 0):.0f} records, {metrics.get('public', 0):.0f} public images"
    if metrics.get("excluded"):
        counts += f", {metrics['excluded']:.0f} annotated pictures without usable background left out"
    table.caption = counts
    table.caption_justify = "left"
    Console().print(table)


def print_values(metrics: Mapping[str, float], title: str, caption: str) -> None:
    """Print named values as they come."""
    table = Table("", "value", title=title, title_justify="left", caption=caption, caption_justify="left")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
