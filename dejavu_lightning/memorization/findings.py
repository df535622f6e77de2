"""What the statistics of any test hand to the comparison."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from dejavu_lightning.memorization.statistics import Floats


@dataclass(frozen=True)
class Findings:
    """Of one test's records.

    Args:
        values: metrics by name.
        replicates: bootstrap values (R,) of those of them that have an interval.
        table: one row per record with both models' answers; None where the records are not the same.
        sample_gaps: gaps of the top records beside their null, where the test has them.
    """

    values: dict[str, float]
    replicates: dict[str, Floats]
    table: pa.Table | None
    sample_gaps: pa.Table | None = None
