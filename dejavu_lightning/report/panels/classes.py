"""Which classes, or objects, are memorized most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import share
from dejavu_lightning.figures import style
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import variant_name
from dejavu_lightning.report.panels.panel import Panel, svg_picture
from dejavu_lightning.report.runs import Run

SHOWN = 15


class Tally(NamedTuple):
    """How many records of a class there are, and how many of them are memorized."""

    memorized: int = 0
    records: int = 0

    @property
    def share(self) -> Estimate:
        """With its interval."""
        return share(self.memorized, self.records)


def tally(runs: Sequence[Run]) -> dict[int, Tally]:
    """By label or object, over all runs that compared record by record."""
    found: dict[int, Tally] = {}
    for run in runs:
        for label, hit in run.display.groups(run.comparison) if run.comparison is not None else ():
            memorized, records = found.get(label, Tally())
            found[label] = Tally(memorized + hit, records + 1)
    return found


def classes(collection: Collection) -> Panel | None:
    """Shares of memorized records by class, every variant in the order of the default."""
    found = {variant: counts for variant, runs in collection.shown() if (counts := tally(runs))}
    if not found:
        return None
    runs = [run for _, run in collection.measured()]
    named = next((run for run in runs if run.class_names), runs[0])
    first = collection.default if collection.default in found else next(iter(found))
    order = sorted(found[first], key=lambda label: (-found[first][label].share.value, label))
    shown = order[:SHOWN]
    what, plural = named.display.truth_labels
    top = max(counts[label].share.high or 0 for counts in found.values() for label in shown if label in counts)
    pictures = []
    for variant, counts in found.items():
        lines = [(named.named(label), counts.get(label, Tally())) for label in shown]
        name = variant_name(collection, variant)
        pictures.append(svg_picture(_draw(lines, top, what), f"Memorized records by {what}: {name}", name))
    many = f", the {SHOWN} highest of {len(order)} {plural}" if len(order) > SHOWN else ""
    caption = (
        f"Of the records of each {what}, those where only the target knows it, over all seeds{many}, in the order of "
        f"{variant_name(collection, first)}. Lines: Wilson's 95% interval of each share by itself; the first of many "
        "is high by chance too."
    )
    rows = [_row(variant, label, named, counts[label]) for variant, counts in found.items() for label in sorted(counts)]
    return Panel(f"memorized_by_{what}", f"Which {plural} are memorized most", caption, rows, pictures)


def _row(variant: str, label: int, named: Run, counted: Tally) -> Mapping[str, Any]:
    value, low, high, *_ = counted.share
    shares = {"share": value, "share_low": low, "share_high": high}
    return {"variant": variant, "label": label, "name": named.named(label), **counted._asdict(), **shares}


def _draw(lines: Sequence[tuple[str, Tally]], top: float, what: str) -> Figure:
    figure, axes = style.canvas(3.8, 0.8 + 0.24 * len(lines), grid=False)
    for height, (_, counted) in enumerate(lines):
        style.beside(axes, height, f"{counted.memorized}/{counted.records}")
        if counted.records:
            value, low, high, *_ = counted.share
            axes.barh(height, value, color=style.ABOVE, height=0.65)
            axes.plot([low or 0, high or 0], [height, height], color=style.INK, linewidth=1)
    axes.set_yticks(range(len(lines)), [name if len(name) < 24 else f"{name[:22]}…" for name, _ in lines])
    axes.set_xlim(0, top * 1.03)
    axes.invert_yaxis()
    axes.set_xlabel("share memorized")
    axes.set_ylabel(what)
    return figure
