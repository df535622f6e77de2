"""How records are spread: memorization confidence of label inference, objects found beyond the reference."""

from __future__ import annotations

from collections import Counter

from matplotlib.figure import Figure

from dejavu_lightning.figures import style
from dejavu_lightning.figures.confidence import CONFIDENCE, bin_edges, plot_confidence
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.panel import Panel, Picture, data_uri
from dejavu_lightning.report.words import called


def confidences(collection: Collection) -> Panel | None:
    """Memorization confidence by outcome, a picture a variant, all on the same axis."""
    found: dict[str, list[tuple[float, str]]] = {}
    rows = []
    for entry, run in collection.measured():
        if run.comparison is None or CONFIDENCE not in run.comparison.column_names:
            continue
        for row in run.comparison.select(["id", CONFIDENCE, "outcome"]).to_pylist():
            found.setdefault(entry.variant, []).append((row[CONFIDENCE], row["outcome"]))
            rows.append({"variant": entry.variant, "seed": "" if entry.seed is None else entry.seed, **row})
    if not rows:
        return None
    edges = bin_edges([value for records in found.values() for value, _ in records])
    pictures = []
    for variant, records in found.items():
        figure = Figure(figsize=(3.6, 3.1), layout="constrained")
        axes = figure.subplots()
        plot_confidence(axes, records, edges)
        axes.set_xlabel("uncertainty, reference minus target")
        style.legend_below(figure, axes)
        name = called(collection, variant)
        source = data_uri("image/svg+xml", style.svg(figure))
        pictures.append(Picture(source, f"Memorization confidence: {name}", name))
    caption = (
        "Uncertainty of the reference minus that of the target, each as a share of what it can be: to the right the "
        "target is surer than the reference. All records, over all seeds; no intervals. Being sure is not being right, "
        "which is what the colours tell."
    )
    return Panel("memorization_confidence", "Memorization confidence", caption, rows, pictures)


def object_gaps(collection: Collection) -> Panel | None:
    """How many objects more the target finds than the reference, a picture a variant, all on the same axis."""
    found: dict[str, Counter[int]] = {}
    for entry, run in collection.measured():
        if run.comparison is not None and "correct_gap" in run.comparison.column_names:
            found.setdefault(entry.variant, Counter()).update(run.comparison["correct_gap"].to_pylist())
    if not found:
        return None
    gaps = [gap for counts in found.values() for gap in counts]
    values = range(min(gaps), max(gaps) + 1)
    shares = {variant: [counts[gap] / counts.total() for gap in values] for variant, counts in found.items()}
    rows = [
        {"variant": variant, "correct_gap": gap, "records": found[variant][gap], "share": value}
        for variant, drawn in shares.items()
        for gap, value in zip(values, drawn, strict=True)
    ]
    top = max(value for drawn in shares.values() for value in drawn)
    pictures = []
    for variant, drawn in shares.items():
        name = called(collection, variant)
        source = data_uri("image/svg+xml", _bars(list(values), drawn, top))
        pictures.append(Picture(source, f"Objects found beyond the reference: {name}", name))
    caption = (
        "Objects that the target finds of a record minus those that the reference finds. Without memorization the bars "
        "are symmetric about 0. All records, over all seeds; no intervals."
    )
    return Panel("object_gaps", "Objects found beyond the reference", caption, rows, pictures)


def _bars(values: list[int], shares: list[float], top: float) -> bytes:
    figure = Figure(figsize=(3.6, 2.5), layout="constrained")
    axes = figure.subplots()
    colors = [
        style.OUTCOME_COLORS["memorized" if gap > 0 else "misrepresented" if gap < 0 else "unassociated"]
        for gap in values
    ]
    drawn = axes.bar(values, shares, color=colors)
    axes.bar_label(drawn, [f"{share:.0%}" for share in shares], fontsize=8, color=style.INK)
    axes.set_ylim(0, 1.12 * top)
    axes.set_xticks(values)
    axes.set_xlabel("objects found: target minus reference")
    axes.set_ylabel("share of records")
    style.plain(axes)
    return style.svg(figure)
