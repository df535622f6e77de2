"""The numbers of a measurement, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from dejavu_lightning.memorization.agreement import Agreement
from dejavu_lightning.memorization.measure import Measurement

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
    ("target precision", "target_precision"),
    ("reference precision", "reference_precision"),
    ("target recall", "target_recall"),
    ("reference recall", "reference_recall"),
    ("PPG, population precision gap", "ppg"),
    ("PRG, population recall gap", "prg"),
    ("AUCG, area between the recall curves", "aucg"),
    ("symmetric average of the PPG", "symmetric_ppg"),
    ("symmetric average of the PRG", "symmetric_prg"),
    ("control: PPG on held-out records", "control_ppg"),
    ("control: PRG on held-out records", "control_prg"),
)
SIGNED = ("score", "score@20", "score@5", "control", "ppg", "prg", "aucg")


def print_table(metrics: Mapping[str, float], title: str) -> None:
    """Print what ``metrics`` holds of the rows above, with 95% intervals."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95% interval", justify="center")
    for label, name in ROWS:
        if name not in metrics:
            continue
        signed = "+" if name.endswith(SIGNED) else ""
        low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
        ends = "" if low is None or high is None else f"[{low:{signed}.3f}, {high:{signed}.3f}]"
        table.add_row(label, f"{metrics[name]:{signed}.3f}", ends.replace("[", r"\["))
    counts = f"{metrics.get('records', 0):.0f} records, {metrics.get('public', 0):.0f} public images"
    if metrics.get("excluded"):
        what = (
            "pictures without an object to score"
            if "ppg" in metrics
            else "annotated pictures without usable background"
        )
        counts += f", {metrics['excluded']:.0f} {what} left out"
    table.caption = counts
    table.caption_justify = "left"
    Console().print(table)


def print_sample_gaps(gaps: Sequence[Mapping[str, Any]]) -> None:
    """Print the gaps of the top records, each beside what its selection alone gives."""
    table = Table(title="Top records, beside the null of exchanged models", title_justify="left")
    for heading in ("sorted by", "top", "gap in", "gap", "null", "p"):
        table.add_column(heading, justify="left" if heading in ("sorted by", "gap in") else "right")
    for row in gaps:
        null = f"{row['null_mean']:+.3f} \\[{row['null_low']:+.3f}, {row['null_high']:+.3f}]"
        values = (f"{row['gap']:+.3f}", null, f"{row['p_value']:.3f}")
        table.add_row(row["order"], str(row["records"]), row["measure"], *values)
    Console().print(table)


def print_references(also: Mapping[str, Measurement], headline: str) -> None:
    """Print the headline metric and its control with each further reference."""
    table = Table("reference", headline, "95% interval", "control", title="Further references", title_justify="left")
    for name, found in also.items():
        low, high = found.metrics[f"{headline}_low"], found.metrics[f"{headline}_high"]
        control = next((value for key, value in found.metrics.items() if key.startswith("control")), None)
        table.add_row(
            name,
            f"{found.metrics[headline]:+.3f}",
            f"\\[{low:+.3f}, {high:+.3f}]",
            "" if control is None else f"{control:+.3f}",
        )
    Console().print(table)


def print_agreement(pairs: Sequence[Agreement]) -> None:
    """Print a matrix: Cohen's kappa of the references' verdicts above the diagonal, the Jaccard index below."""
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)))
    cells = {(pair.first, pair.second): f"{pair.kappa:.2f}" for pair in pairs}
    cells |= {(pair.second, pair.first): f"{pair.jaccard:.2f}" for pair in pairs}
    table = Table("", *names, title="Which records are memorized: agreement of the references", title_justify="left")
    for row in names:
        table.add_row(row, *(cells.get((row, column), "") for column in names))
    table.caption = "above the diagonal Cohen's kappa; below memorized by both / by either"
    table.caption_justify = "left"
    Console().print(table)


def print_values(metrics: Mapping[str, float], title: str, caption: str) -> None:
    """Print named values as they come, each beside its 95% interval."""
    headings = ("", "value", "95% interval")
    table = Table(*headings, title=title, title_justify="left", caption=caption, caption_justify="left")
    for name, value in metrics.items():
        if not name.endswith(("_low", "_high")):
            ends = f"\\[{metrics[f'{name}_low']:.3f}, {metrics[f'{name}_high']:.3f}]"
            table.add_row(name, f"{value:.3f}", ends)
    Console().print(table)
