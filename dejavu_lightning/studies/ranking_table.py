"""Write and print the ranking of a study's variants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from dejavu_lightning.runs.files import write_rows
from dejavu_lightning.studies.ranking import NO_PAIR, NO_SURE_LOSS, NO_SURE_REMOVAL, SURE_LOSS, RankedVariant
from dejavu_lightning.studies.study_definition import Study
from dejavu_lightning.studies.table_cells import file_cells, shown, table_console

COLUMNS = ("removed", "lost", "removed_per_point")


def write_ranking(ranked: Sequence[RankedVariant], file: Path) -> None:
    """Write a row for each variant, the first in the ranking first; variants without a finished pair have no rank."""
    lines = []
    for rank, row in enumerate(ranked, start=1):
        place = None if row.group == NO_PAIR else rank
        line: dict[str, Any] = {"rank": place, "variant": row.variant, "group": row.group}
        for name in COLUMNS:
            line |= file_cells(name, getattr(row, name))
        lines.append(line | {"seeds": row.seeds})
    write_rows(file, lines)


def print_ranking(study: Study, ranked: Sequence[RankedVariant]) -> None:
    """Print the ranking as a table."""
    console, between = table_console()
    table = Table(
        title=f"{study.name}: ranking", title_justify="left", caption=_caption(study, ranked), caption_justify="left"
    )
    table.add_column("rank", justify="right")
    table.add_column("variant", overflow="fold")
    for heading in (f"removed of {study.headline}", f"points lost of {study.utility}", "removed per point lost"):
        table.add_column(heading, justify="right")
    table.add_column("group")
    table.add_column("seeds", justify="right")
    for rank, row in enumerate(ranked, start=1):
        place = "" if row.group == NO_PAIR else str(rank)
        cells = [shown(row.removed, "+", between), shown(row.lost, "+", between, 2), _ratio(row, between)]
        table.add_row(place, escape(row.variant), *cells, row.group, str(row.seeds))
    console.print(table)


def _ratio(row: RankedVariant, between: str) -> str:
    if row.removed_per_point is not None:
        return shown(row.removed_per_point, "+", between, 4)
    sure = row.lost is not None and row.lost.low is not None and row.lost.low > 0
    return "" if row.lost is None or sure else "no loss that is sure"


def _caption(study: Study, ranked: Sequence[RankedVariant]) -> str:
    return (
        f"Removed, lost: {study.default} minus the variant, of the same seed; a point is 0.01 of {study.utility}. "
        "Intervals: over seeds (Student's t, Fieller's of the ratio), in each column 95% for the "
        f"{len(ranked)} variants together (Bonferroni); none of fewer than three seeds or of differences that are all "
        "alike. Surely: the interval lies above 0. "
        f'Order: "{NO_SURE_LOSS}", by removed; "{SURE_LOSS}", by removed per point; "{NO_SURE_REMOVAL}", by removed.'
    )
