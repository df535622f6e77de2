"""Nearest public samples, where each process holds a share of them and a share of the queries."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dejavu_lightning.core.distributed import gathered
from dejavu_lightning.embedding.embed import Embedded
from dejavu_lightning.embedding.neighbors import nearest_neighbors


class Found(NamedTuple):
    """Nearest first: ``distances`` (N, k) float64, squared Euclidean; ``indices`` (N, k) into the public set."""

    distances: Tensor
    indices: Tensor


def search(queries: Embedded, bank: Embedded, k: int, role: str | None = None) -> Found:
    """The k nearest of the whole bank to every query, the same on every process.

    All processes' queries meet each process's share of the bank; the finds are merged.

    Args:
        role: what errors call the set of the queries; None where a query may find itself.

    Raises:
        ValueError: an id is in both sets, although a role is given.
    """
    known = set(queries.ids) & set(bank.ids) if role is not None else set()
    if known:
        raise ValueError(
            f"{len(known)} ids are both in the {role} set and in the public set, such as {min(known)!r}: "
            "a record would find itself; the sets must be disjoint"
        )
    shares = gathered((queries.rows, queries.embeddings.cpu()))
    rows = torch.cat([share[0] for share in shares])
    asked = torch.cat([share[1] for share in shares if len(share[0])]).to(bank.embeddings.device)
    own = len(bank.rows)
    if own:
        distances, local = nearest_neighbors(asked, bank.embeddings, min(k, own))
        found = (distances.cpu(), bank.rows[local.cpu()])
    else:
        found = (torch.empty(len(asked), 0, dtype=torch.float64), torch.empty(len(asked), 0, dtype=torch.int64))
    finds = gathered(found)
    index, order = torch.cat([find[1] for find in finds], dim=1).sort(dim=1)
    distance = torch.cat([find[0] for find in finds], dim=1).gather(1, order)
    nearest = distance.argsort(dim=1, stable=True)[:, :k]
    distances, indices = torch.empty(len(rows), k, dtype=torch.float64), torch.empty(len(rows), k, dtype=torch.int64)
    distances[rows], indices[rows] = distance.gather(1, nearest), index.gather(1, nearest)
    return Found(distances, indices)
