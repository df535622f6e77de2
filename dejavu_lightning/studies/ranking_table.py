"""Write and print the ranking of a study's variants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from dejavu_lightning.runs.files import write_rows
from dejavu_lightning.studies.ranking import NO_SURE_REMOVAL, REMOVES, TOO_FEW, RankedVariant
from dejavu_lightning.studies.study_definition import Study
from dejavu_lightning.studies.table_cells import file_cells, shown, table_console

COLUMNS = ("removed", "lost", "removed_per_point")


def write_ranking(ranked: Sequence[RankedVariant], file: Path) -> None:
    """Write a row for each variant, the first in the ranking first; variants of too few seeds have no rank."""
    lines = []
    for rank, row in enumerate(ranked, start=1):
        place = None if row.group == TOO_FEW else rank
        line: dict[str, Any] = {"rank": place, "variant": row.variant, "group": row.group}
        for name in COLUMNS:
            line |= file_cells(name, getattr(row, name))
        lines.append(line | {"at_least_per_point": row.at_least, "seeds": row.seeds})
    write_rows(file, lines)


def print_ranking(study: Study, ranked: Sequence[RankedVariant]) -> None:
    """Print the ranking as a table."""
    console, between = table_console()
    table = Table(
        title=f"{study.name}: ranking", title_justify="left", caption=_caption(study, ranked), caption_justify="left"
    )
    table.add_column("rank", justify="right")
    table.add_column("variant", overflow="fold")
    asked = (f"removed of {study.headline}", f"points lost of {study.utility}")
    for heading in (*asked, "removed per point lost", "at least"):
        table.add_column(heading, justify="right")
    table.add_column("group")
    table.add_column("seeds", justify="right")
    for rank, row in enumerate(ranked, start=1):
        place = "" if row.group == TOO_FEW else str(rank)
        cells = [shown(row.removed, "+", between), shown(row.lost, "+", between, 2), _ratio(row, between)]
        cells.append("" if row.at_least is None else "no loss" if math.isinf(row.at_least) else f"{row.at_least:.4f}")
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
        "At least: the lower end of what is removed over the upper end of what is lost. "
        f'Order: "{REMOVES}", by at least; "{NO_SURE_REMOVAL}", by removed.'
    )
