"""Every variant against the default, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping

from dejavu_lightning.core.estimate import SEEDS_FOR_SPREAD, Estimate, over_runs
from dejavu_lightning.report.collection import Collection
from dejavu_lightning.report.formatting import csv_columns, format_estimate, metric_label
from dejavu_lightning.report.panels.panel import Cell, Panel
from dejavu_lightning.report.runs import Run


def differences(collection: Collection) -> Panel | None:
    """Of variants that share at least two seeds with the default.

    What a seed does to both variants, such as other data, drops out: the interval of the difference can be much
    narrower than those of the two values.
    """
    base = _by_seed(collection, collection.default)
    rows, table = [], []
    for variant in collection.variants:
        pairs = [(its, base[seed]) for seed, its in _by_seed(collection, variant).items() if seed in base]
        if variant == collection.default or len(pairs) < 2:
            continue
        memorization = _difference([(a.estimates, b.estimates) for a, b in pairs], collection.metric)
        line = {"variant": variant, "seeds": len(pairs), **csv_columns(collection.metric, memorization)}
        cells = [variant, format_estimate(memorization)]
        if collection.utility is not None:
            utility = _difference([(a.final_utility, b.final_utility) for a, b in pairs], collection.utility)
            line |= csv_columns(collection.utility, utility)
            cells.append(format_estimate(utility))
        rows.append(line)
        table.append([Cell(text) for text in (*cells, str(len(pairs)))])
    if not rows:
        return None
    headings = ["variant", metric_label(collection, collection.metric)]
    headings += [metric_label(collection, collection.utility)] if collection.utility is not None else []
    caption = f"Of the final models, each minus {collection.default} of the same seed. In brackets: 95% Student t over "
    caption += f"seeds of these differences, where there are {SEEDS_FOR_SPREAD}."
    return Panel("differences", "Against the default", caption, rows, (), [*headings, "seeds"], table)


def _by_seed(collection: Collection, variant: str) -> dict[int, Run]:
    return {
        entry.seed: run for entry, run in collection.measured() if entry.variant == variant and entry.seed is not None
    }


def _difference(pairs: list[tuple[Mapping[str, Estimate], Mapping[str, Estimate]]], name: str) -> Estimate | None:
    found = [Estimate(one[name].value - other[name].value) for one, other in pairs if name in one and name in other]
    return over_runs(found) if len(found) > 1 else None
