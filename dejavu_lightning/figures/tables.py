"""The numbers of a measurement, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dejavu_lightning.core.estimate import Estimate, format_p
from dejavu_lightning.figures.series import series_gap, series_utility
from dejavu_lightning.memorization.agreement import Agreement
from dejavu_lightning.memorization.display import Display, Series
from dejavu_lightning.memorization.measure import Measurement
from dejavu_lightning.memorization.protocols import MemorizationTest


def print_table(estimates: Mapping[str, Estimate], display: Display, title: str) -> None:
    """Print what there is of the rows of a test, with 95% intervals.

    The p-values are one-sided, of "nothing is memorized".
    """
    net = any(name.startswith("net_") for name in estimates)
    paired = any(name in estimates and f"unpaired_{name}" not in estimates for name in display.outcomes or display.gaps)
    counts = {name: estimates[name].value for name in ("records", "public", "excluded") if name in estimates}
    caption = f"{counts.get('records', 0):.0f} records, {counts.get('public', 0):.0f} public images"
    if counts.get("excluded"):
        caption += f", {counts['excluded']:.0f} {display.left_out} left out"
    if net:
        caption += "\nnet: attacked less held-out records (control); p: of nothing memorized, one-sided"
    elif paired:
        caption += (
            "\nNo held-out records, so no net value: two models that differ in ability differ here without any memory."
        )
    table = Table("", title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("value", justify="right")
    table.add_column("95% interval", justify="center")
    table.add_column("p", justify="right")
    for row in display.rows:
        if row.metric in estimates:
            p_value = estimates[row.metric].p_value
            beside = "" if p_value is None else format_p(p_value)
            table.add_row(row.label, *_cells(estimates[row.metric], row.signed), beside)
    Console().print(table)


def _cells(estimate: Estimate, signed: bool) -> tuple[str, str]:
    sign = "+" if signed else ""
    value, low, high, *_ = estimate
    return f"{value:{sign}.3f}", "" if low is None or high is None else f"\\[{low:{sign}.3f}, {high:{sign}.3f}]"


def print_series(
    series: Series, estimates: Mapping[str, Estimate], utility: Mapping[str, Estimate], display: Display
) -> None:
    """Print one line a place: the gap with its 95% interval, what both models find, and utility where it is known."""
    gap, useful = series_gap(series, estimates, display), series_utility(series, utility)
    title, caption = f"{display.label(gap)} by {series.axis}", f"target, reference: {display.answers.label}"
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("value", "95% interval", "target", "reference", *useful):
        table.add_column(heading, justify="right")
    answers = [f"{role}_{display.answers.metric}" for role in ("target", "reference")]
    for place in series.places:
        beside = [estimates[f"{metric}/{place}"] for metric in answers]
        beside += [utility[f"{name}/{place}"] for name in useful]
        cells = _cells(estimates[f"{gap}/{place}"], True)
        table.add_row(place, *cells, *(f"{one.value:.3f}" for one in beside))
    Console().print(table)


def print_sample_gaps(gaps: Sequence[Mapping[str, Any]], k: int | None, kept_in: Path | None = None) -> None:
    """Print the gaps in recall of the top records, each beside what its selection alone gives.

    Args:
        gaps: rows of ``sample_gaps``.
        k: neighbours of the rows that are printed.
        kept_in: a file that has all of them; then those among the most records of each order are printed.
    """
    caption = f"p one-sided; adjusted: for all {len(gaps)} rows of k, L and measure together"
    shown = [row for row in gaps if row["measure"] == "recall" and row["k"] == k]
    if kept_in is not None:
        caption += f", which are in {kept_in}"
        most = max((row["records"] for row in shown), default=0)
        shown = [row for row in shown if row["records"] == most]
    title = "Top records, beside the null of exchanged models"
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for heading in ("sorted by", "top", "gap in recall", "null", "p", "adjusted p"):
        table.add_column(heading, justify="left" if heading == "sorted by" else "right")
    for row in shown:
        null = f"{row['null_mean']:+.3f} \\[{row['null_low']:+.3f}, {row['null_high']:+.3f}]"
        values = (f"{row['gap']:+.3f}", null, format_p(row["p_value"]), format_p(row["p_adjusted"]))
        table.add_row(row["order"], str(row["records"]), *values)
    Console().print(table)


def print_references(extra_references: Mapping[str, Measurement], test: MemorizationTest) -> None:
    """Print the headline with each extra reference, and the gap and its control where it is a net value."""
    headings = ("reference", "headline", "value", "95% interval", test.headline, "control")
    table = Table(*headings, title="Extra references", title_justify="left")
    for name, found in extra_references.items():
        parts = [found.estimates.get(part) for part in (test.headline, f"control_{test.headline}")]
        beside = ["" if part is None else f"{part.value:+.3f}" for part in parts]
        table.add_row(name, found.headline, *_cells(found.estimates[found.headline], True), *beside)
    Console().print(table)


def print_agreement(pairs: Sequence[Agreement], what: str = "Which records are memorized") -> None:
    """Print a matrix: Cohen's kappa of the references' verdicts above the diagonal, the Jaccard index below."""
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)))
    cells = {(pair.first, pair.second): f"{pair.kappa:.2f}" for pair in pairs}
    cells |= {(pair.second, pair.first): f"{pair.jaccard:.2f}" for pair in pairs}
    table = Table("", *names, title=f"{what}: agreement of the references", title_justify="left")
    for row in names:
        table.add_row(row, *(cells.get((row, column), "") for column in names))
    table.caption = "above the diagonal Cohen's kappa; below by both / by either"
    table.caption_justify = "left"
    Console().print(table)


def print_values(estimates: Mapping[str, Estimate], title: str, caption: str) -> None:
    """Print named values as they come, each beside its 95% interval."""
    headings = ("", "value", "95% interval")
    table = Table(*headings, title=title, title_justify="left", caption=caption, caption_justify="left")
    for name, estimate in estimates.items():
        table.add_row(name, *_cells(estimate, False))
    Console().print(table)


def print_cells(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str, caption: str) -> None:
    """Print words and numbers as they come, a row each."""
    table = Table(*headings, title=title, title_justify="left", caption=caption, caption_justify="left")
    for row in rows:
        table.add_row(*(cell.replace("[", "\\[") for cell in row))
    Console().print(table)
