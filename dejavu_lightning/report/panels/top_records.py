"""The most memorized records: their pictures, and which variants forget them."""

from __future__ import annotations

from collections.abc import Mapping

from dejavu_lightning.report.collection import Collection, Entry
from dejavu_lightning.report.formatting import variant_name
from dejavu_lightning.report.panels.panel import Cell, Panel, Picture, data_uri
from dejavu_lightning.report.runs import Run

SHOWN = 20


def galleries(collection: Collection) -> Panel | None:
    """The pictures that the runs drew: of the default variant, the others folded away."""
    pictures: list[Picture] = []
    for variant, runs in collection.shown():
        drawn = next((run.gallery for run in runs if run.gallery is not None), None)
        if drawn is not None:
            name = variant_name(collection, variant)
            source = data_uri("image/png", drawn.read_bytes())
            picture = Picture(source, f"Most memorized records: {name}", name)
            pictures.insert(0 if variant == collection.default else len(pictures), picture)
    if not pictures:
        return None
    caption = (
        "As the runs drew them, of the first seed that drew one. The order selects on the outcome: it shows what "
        "memorization looks like, not how much there is."
    )
    return Panel("gallery", "The most memorized records", caption, (), pictures, folded=True)


def forgetting(collection: Collection) -> Panel | None:
    """The records that the default variant memorizes most, and who else memorizes them."""
    shown = _shown(collection)
    if shown is None or len(collection.variants) < 2:
        return None
    entry, run = shown
    ids = [row["id"] for row in run.display.most_memorized(run.comparison).to_pylist()]
    if not ids:
        return None
    # Of the same seed: other seeds may have attacked other records.
    known = {
        other.variant: _verdicts(its)
        for other, its in collection.measured()
        if other.seed == entry.seed and its.comparison is not None
    }
    truth = _truth(run)
    rows = [{"id": id, "truth": truth[id], **{name: found[id] for name, found in known.items()}} for id in ids]
    one, several = run.display.truth_labels
    many = run.display.truth and isinstance(run.target.table[run.display.truth][0].as_py(), list)
    headings = ["record", several if many else one, *(variant_name(collection, variant) for variant in known)]
    table = [[Cell(f"all {len(ids)}"), Cell(""), *(_total(found, ids) for found in known.values())]]
    for row in rows[:SHOWN]:
        cells = [Cell("memorized", "yes") if found[row["id"]] else Cell("not", "no") for found in known.values()]
        table.append([Cell(row["id"]), Cell(row["truth"]), *cells])
    listed = f"The {SHOWN} clearest of the {len(ids)}" if len(ids) > SHOWN else f"The {len(ids)}"
    caption = (
        f"{listed} records that {entry.name} memorizes, and what other variants make of them; the first line counts "
        "all of them. Records chosen because one model memorizes them are memorized less by any other, also by one "
        "trained the same way: compare variants with each other, not with the first. Counts of single models, no "
        "intervals."
    )
    return Panel("forgotten", "Which variants forget them", caption, rows, (), headings, table)


def _shown(collection: Collection) -> tuple[Entry, Run] | None:
    """The run whose records are listed: the default's first, else any, that compared record by record."""
    found = [(entry, run) for entry, run in collection.measured() if run.comparison is not None]
    return next((pair for pair in found if pair[0].variant == collection.default), found[0] if found else None)


def _verdicts(run: Run) -> Mapping[str, bool]:
    verdict = run.display.memorized(run.comparison)
    assert run.comparison is not None
    return dict(zip(run.comparison["id"].to_pylist(), verdict.tolist(), strict=True))


def _truth(run: Run) -> dict[str, str]:
    table = run.target.table
    truth = table[run.display.truth].to_pylist() if run.display.truth else [[]] * table.num_rows
    names = [", ".join(map(run.named, one if isinstance(one, list) else [one])) for one in truth]
    return dict(zip(table["id"].to_pylist(), names, strict=True))


def _total(found: Mapping[str, bool], ids: list[str]) -> Cell:
    kept = sum(found[id] for id in ids)
    return Cell(f"{kept} ({kept / len(ids):.0%})")
