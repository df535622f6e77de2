"""What a test finds out about each attacked record: one table per model, keyed by id."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.core.whole_file import whole_file


@dataclass(frozen=True)
class Records:
    """A table of what a test found out about each attacked record, in the order of their ids.

    Args:
        table: column ``id``; ``neighbors``, the ids of the nearest public samples; ``predicted`` and ``correct``.
            Of label inference also ``label``, ``confidence`` (negative entropy, nats) and ``correct_top5``. Of
            object retrieval ``objects``, the true ones, ``scored``, those that are asked for where not all are,
            ``min_distance`` to the nearest public sample (of unit vectors, in [0, 2]), and ``precision``, ``recall``
            and ``f_score`` of each variant; ``predicted`` are objects, and ``correct`` is how many of them are true.
        settings: what the numbers depend on besides the model, such as k; two tables with other settings
            cannot be compared.

    Raises:
        ValueError: an id occurs twice.

    Example:
        >>> import pyarrow as pa
        >>> records = Records(pa.table({"id": ["b", "a"], "correct": [True, False]}), {"test": "label_inference"})
        >>> records.ids, records.column("correct")
        (['a', 'b'], tensor([False,  True]))
    """

    table: pa.Table
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if any(identifier > following for identifier, following in pairwise(self.ids)):
            object.__setattr__(self, "table", self.table.sort_by("id"))
        ids = self.ids
        twice = [identifier for identifier, following in pairwise(ids) if identifier == following]
        if twice:
            raise ValueError(f"records hold ids more than once, such as {twice[0]!r}; the id is the only join key")

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def ids(self) -> list[str]:
        """(N,) ascending."""
        return list(self.table["id"].to_pylist())

    def column(self, name: str) -> Tensor:
        """A numeric or boolean column as an (N,) tensor."""
        return torch.from_numpy(np.array(self.table[name].to_numpy(zero_copy_only=False)))

    def judging(self, leave_out: DecisionPart) -> Records:
        """The records that did not decide; the settings say so, since only tables of the same part can be compared.

        Raises:
            ValueError: all records decided.
        """
        kept = self.table.filter(pa.array(leave_out.judges(self.ids, "records")))
        return Records(kept, {**self.settings, "left_out": leave_out.share})

    def save(self, path: str | Path) -> None:
        """Write parquet; the settings travel in its metadata."""
        with whole_file(path) as partial:
            table = self.table.replace_schema_metadata({"settings": json.dumps(self.settings)})
            pq.write_table(table, partial, write_page_checksum=True)

    @classmethod
    def load(cls, path: str | Path) -> Records:
        """Read what :meth:`save` wrote."""
        table = pq.read_table(path, partitioning=None, page_checksum_verification=True)
        return cls(table, json.loads((table.schema.metadata or {}).get(b"settings", b"{}")))
