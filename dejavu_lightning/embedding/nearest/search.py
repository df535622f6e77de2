"""Nearest public samples, where each process holds a share of them and a share of the queries."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dejavu_lightning.core.distributed import joined_rows, rows_to_owners, world
from dejavu_lightning.core.progress.long_work import long_work, nothing, shown_by
from dejavu_lightning.embedding.embed import Embedded
from dejavu_lightning.embedding.nearest.neighbors import nearest_neighbors, query_rows

CROSSING_ELEMENTS = (
    1 << 24
)  # of the queries of all processes that meet the banks at once, 64 MiB in float32; their finds no more


class Found(NamedTuple):
    """Nearest first: ``distances`` (N, k) float64, squared Euclidean; ``indices`` (N, k) into the public set."""

    distances: Tensor
    indices: Tensor


def search(queries: Embedded, bank: Embedded, k: int, role: str | None = None) -> Found:
    """The k nearest of the whole bank to every query, the same on every process.

    A block of all processes' queries at a time meets each process's share of the bank. What was found goes to the
    process that has the query, which merges it; the k nearest of each query go to all. So a process holds its shares,
    a block of queries and the finds, whatever the number of processes.

    Args:
        role: what errors call the set of the queries; None where a query may find itself.

    Raises:
        ValueError: an id is in both sets, although a role is given; k is not in [1, size of the bank]; or queries and
            bank differ in width.
    """
    known = set(queries.ids) & set(bank.ids) if role is not None else set()
    if known:
        raise ValueError(
            f"{len(known)} ids are both in the {role} set and in the public set, such as {min(known)!r}: "
            "a record would find itself; the sets must be disjoint"
        )
    if world()[1] > 1:
        return _among_processes(queries, bank, k)
    distances, indices = nearest_neighbors(queries.embeddings.to(bank.embeddings.device), bank.embeddings, k)
    found = Found(torch.empty_like(distances, device="cpu"), torch.empty_like(indices, device="cpu"))
    found.distances[queries.rows], found.indices[queries.rows] = distances.cpu(), indices.cpu()
    return found


def _among_processes(queries: Embedded, bank: Embedded, k: int) -> Found:
    """What all processes find together, the same on each."""
    processes = world()[1]
    own = [len(queries.rows), len(bank.rows), queries.embeddings.shape[1], bank.embeddings.shape[1]]
    told = joined_rows(torch.tensor([[*own, query_rows(bank.embeddings.device)]]))
    shares, held, asked_widths, held_widths, blocks = told.T.tolist()
    every_width = {*asked_widths, *held_widths} - {0}
    if len(every_width) > 1:
        raise ValueError(f"queries and bank must have one width, they have {sorted(every_width)}")
    if not 1 <= k <= sum(held):
        raise ValueError(f"k={k} neighbours cannot be taken from a bank of {sum(held)}; k must lie in [1, {sum(held)}]")
    # A find has 16 bytes, as four numbers of a query. A process without samples has nothing on its GPU, and takes the
    # others' block.
    step = -(-max(*blocks, CROSSING_ELEMENTS // max([*every_width, 4 * k])) // processes)
    rows = torch.split(joined_rows(queries.rows), shares)
    found = Found(torch.empty(sum(shares), k, dtype=torch.float64), torch.empty(sum(shares), k, dtype=torch.int64))
    with long_work("nearest neighbours", sum(shares), "sample") as advance, shown_by(nothing):
        for start in range(0, max(shares), step):
            counts = [min(max(share - start, 0), step) for share in shares]
            asked = joined_rows(queries.embeddings[start : start + step].to(bank.embeddings.device))
            finds = _own_finds(asked, bank, min(k, max(held)))
            distances, indices = (rows_to_owners(find, counts) for find in finds)
            distances, indices = _nearest(distances, indices, k)
            answered = torch.cat([each[start : start + step] for each in rows])
            found.distances[answered], found.indices[answered] = joined_rows(distances), joined_rows(indices)
            advance(sum(counts))
    return found


def _own_finds(asked: Tensor, bank: Embedded, k: int) -> tuple[Tensor, Tensor]:
    """Distances and indices (n, k) on the CPU of the nearest in this process's share of the bank.

    A share of fewer than k has infinitely distant ones beside them.
    """
    distances = torch.full((len(asked), k), torch.inf, dtype=torch.float64)
    indices = torch.zeros(len(asked), k, dtype=torch.int64)
    if own := min(k, len(bank.rows)):
        near, local = nearest_neighbors(asked, bank.embeddings, own)
        distances[:, :own], indices[:, :own] = near.cpu(), bank.rows[local.cpu()]
    return distances, indices


def _nearest(distances: Tensor, indices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest of all processes' finds (W, n, each) -> (n, k); equal distances by their index."""
    index, order = indices.transpose(0, 1).flatten(1).sort(dim=1)
    distance = distances.transpose(0, 1).flatten(1).gather(1, order)
    nearest = distance.argsort(dim=1, stable=True)[:, :k]
    return distance.gather(1, nearest), index.gather(1, nearest)
