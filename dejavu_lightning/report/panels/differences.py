"""Every variant against the default, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dejavu_lightning.core.estimate import SEEDS_FOR_SPREAD, Estimate, format_p, over_runs
from dejavu_lightning.core.intervals import difference_p_value, holm, record_difference
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import csv_columns, format_estimate, metric_label, part_label
from dejavu_lightning.report.panels.panel import Cell, Panel
from dejavu_lightning.report.runs import Run

Difference = Callable[[Run, Run, str], Estimate | None]


def differences(collection: Collection) -> Panel | None:
    """Of variants that share a seed with the default, or all of which are single runs.

    What a seed does to both variants, such as other data, drops out, and so does what a record adds to both: the
    interval of the difference can be much narrower than those of the two values.
    """
    base = _by_seed(collection, collection.default)
    pairs: dict[str, list[tuple[Run, Run]]] = {}
    for variant in collection.variants:
        both = [(its, base[seed]) for seed, its in _by_seed(collection, variant).items() if seed in base]
        if variant != collection.default and both:
            pairs[variant] = both
    if not pairs:
        return None
    metrics: dict[str, Difference] = dict.fromkeys([collection.metric, *collection.beside], _of_memorization)
    if collection.utility is not None:
        metrics[collection.utility] = _of_utility
    found = {
        name: {variant: _over_runs([of(*pair, name) for pair in both]) for variant, both in pairs.items()}
        for name, of in metrics.items()
    }
    adjusted = {name: _adjusted(column) for name, column in found.items()}
    drawn = [name for name in (collection.metric, collection.utility) if name]
    tested = [name for name in drawn if any(p_value is not None for p_value in adjusted[name].values())]
    rows, table = [], []
    for variant, both in pairs.items():
        line: dict[str, object] = {"variant": variant, "seeds": len(both)}
        cells = [variant]
        for name in metrics:
            p_value = adjusted[name][variant]
            line |= csv_columns(name, found[name][variant]) | {f"{name}_p_adjusted": "" if p_value is None else p_value}
            cells.append(format_estimate(found[name][variant]))
            cells += [] if name not in tested else ["" if p_value is None else format_p(p_value)]
        rows.append(line)
        table.append([Cell(text) for text in (*cells, str(len(both)))])
    headings = ["variant"]
    for name in metrics:
        beside = name in collection.beside
        headings.append(part_label(name) if beside else metric_label(collection, name))
        headings += ["adjusted p"] if name in tested else []
    headings.append("seeds" if _seeded(collection) else "runs")
    estimates = [estimate for column in found.values() for estimate in column.values() if estimate is not None]
    caption = _caption(collection, sum(estimate.low is not None for estimate in estimates), len(pairs))
    return Panel("differences", f"Against {collection.default}", caption, rows, (), headings, table)


def _seeded(collection: Collection) -> bool:
    return any(entry.seed is not None for entry in collection.entries)


def _caption(collection: Collection, intervals: int, variants: int) -> str:
    same = " of the same seed" if _seeded(collection) else ""
    caption = (
        f"Of the final models, each minus {collection.default}{same}. In brackets: 95%, "
        f"of {SEEDS_FOR_SPREAD} seeds or more Student t over the seeds' differences; of fewer over the records "
        "that both variants attacked, which leaves out how training varies."
    )
    if intervals:
        caption += f' The table has {intervals} intervals, each for itself. Adjusted p: two-sided, of "differs from '
        caption += f'{collection.default}"' + (
            f", Holm's for the {variants} variants of a column together: those below .05 hold at once."
            if variants > 1
            else "; of a single variant there is nothing to adjust."
        )
    return caption


def _by_seed(collection: Collection, variant: str) -> dict[int | None, Run]:
    return {entry.seed: run for entry, run in collection.measured() if entry.variant == variant}


def _of_memorization(one: Run, other: Run, name: str) -> Estimate | None:
    if name not in one.estimates or name not in other.estimates:
        return None
    paired = record_difference(one.terms(name), other.terms(name))
    return paired or Estimate(one.estimates[name].value - other.estimates[name].value)


def _of_utility(one: Run, other: Run, name: str) -> Estimate | None:
    first, second = one.final_utility.get(name), other.final_utility.get(name)
    return None if first is None or second is None else Estimate(first.value - second.value)


def _over_runs(found: list[Estimate | None]) -> Estimate | None:
    known = [estimate for estimate in found if estimate is not None]
    return over_runs(known) if known else None


def _adjusted(found: Mapping[str, Estimate | None]) -> dict[str, float | None]:
    """The p-values of a column, adjusted for being so many."""
    p_values = [None if estimate is None else difference_p_value(estimate) for estimate in found.values()]
    return dict(zip(found, holm(p_values), strict=True))
