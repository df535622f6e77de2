"""From neighbours to precision, recall and F of the objects they show, for many records at once.

What is computed is that of :func:`~dejavu_lightning.metrics.functional.object_votes`, ``top_objects`` and
``object_overlap``, to which the tests compare it; it is computed in one pass for all variants, in blocks of records.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dejavu_lightning.metrics.functional import Overlap, counted_overlap, equal_votes

CELLS_AT_ONCE = 1 << 17  # of a table of votes: small enough for the cache, and for memory to be used again


def object_scores(
    neighbors: Tensor,
    objects: Tensor,
    truth: Tensor,
    left_out: Tensor,
    classes: int,
    variants: Mapping[str, tuple[int, int | None]],
) -> dict[str, Any]:
    """Columns of records.

    Args:
        neighbors: (N, K) rows of ``objects``, nearest first.
        objects: (M, O) of each public sample, each once, padded with -1.
        truth: (N, P) of each record, padded with -1.
        left_out: (N, Q) objects that are neither asked for nor predicted, padded with -1.
        classes: C, the size of the vocabulary.
        variants: suffix -> (neighbours, most frequent objects predicted; None for all of them), the plain one, "",
            among them.

    Returns:
        ``precision``, ``recall`` and ``f_score`` of each variant, (N,) float64, by name and suffix; of the plain
        variant also ``predicted``, lists of objects, and ``correct``, how many of them are true.
    """
    ks = sorted({k for k, _ in variants.values()})
    top_n = sorted({n for _, n in variants.values() if n is not None})
    plain = ks.index(variants[""][0])
    public, reach = _columns(objects, classes), neighbors.shape[1]
    step = max(1, CELLS_AT_ONCE // max(classes, reach * public.shape[1]))
    correct = torch.empty(len(neighbors), len(ks), 1 + len(top_n), dtype=torch.int32)
    guessed, there = torch.empty_like(correct), torch.empty(len(neighbors), dtype=torch.int32)
    chosen = []
    for start in range(0, len(neighbors), step):
        rows = slice(start, start + step)
        shown = public.index_select(0, neighbors[rows].flatten()).view(-1, reach * public.shape[1]).long()
        found = _counts(shown, truth[rows], left_out[rows], classes, reach, ks, top_n)
        correct[rows], guessed[rows], there[rows] = found.correct, found.guessed, found.there
        chosen.append((np.flatnonzero(found.seen[:, plain]) % found.seen.shape[2]).astype(np.int32))
    columns: dict[str, Any] = {}
    for suffix, (k, n) in variants.items():
        row, column = ks.index(k), 0 if n is None else 1 + top_n.index(n)
        overlap = counted_overlap(correct[:, row, column], guessed[:, row, column], there)
        columns |= {name + suffix: values.numpy() for name, values in zip(Overlap._fields, overlap, strict=True)}
    ends = nn.functional.pad(guessed[:, plain, 0].cumsum(0), (1, 0))
    predicted = pa.array(np.concatenate(chosen), pa.int64())
    columns["correct"] = correct[:, plain, 0].long().numpy()
    columns["predicted"] = pa.ListArray.from_arrays(pa.array(ends.numpy(), pa.int32()), predicted)
    return columns


class _Counts(NamedTuple):
    """Objects of n records: right and predicted (n, ks, all and top_n), true (n,), seen (n, ks, C or more)."""

    correct: Tensor
    guessed: Tensor
    there: Tensor
    seen: NDArray[np.bool_]


def _counts(
    shown: Tensor, truth: Tensor, left_out: Tensor, classes: int, reach: int, ks: list[int], top_n: list[int]
) -> _Counts:
    """Count the objects of each variant.

    Each object gets a number: its votes, then the order of :func:`equal_votes`. A variant predicts the objects
    whose number reaches a bar, that of one vote or of the last object it may predict.
    """
    places = shown.shape[1] // reach
    width = classes + places  # columns for the empty places, whose votes are worth nothing
    vote = reach * width
    dtype = torch.int32 if vote * (reach + 1) < 2**31 else torch.int64
    truth, left_out = truth.where(truth >= 0, classes), left_out.where(left_out >= 0, classes)
    worth = torch.full((len(shown), width), vote, dtype=dtype).scatter_(1, left_out, 0)
    worth[:, classes:] = 0
    there = (worth.gather(1, truth) > 0).sum(dim=1, dtype=torch.int32)
    ties, one = equal_votes(shown, reach, width, dtype), torch.ones((), dtype=dtype)
    votes = torch.zeros_like(worth)
    numbers = torch.empty(len(shown), len(ks), width, dtype=dtype)
    for row, (nearer, k) in enumerate(pairwise([0, *ks])):
        voters = shown[:, nearer * places : k * places]
        votes.scatter_add_(1, voters, one.expand_as(voters))
        torch.addcmul(ties, votes, worth, out=numbers[:, row])
    seen = numbers.numpy() >= vote
    most = min(max(top_n, default=1), width)
    best = np.sort(np.partition(numbers.numpy(), -most)[..., -most:])  # several times faster than torch.topk
    last = torch.from_numpy(best)[..., [-min(n, most) for n in top_n]].clamp(min=vote)
    bars = nn.functional.pad(last, (1, 0), value=vote)  # n, ks, all and top_n
    own = numbers.gather(2, truth[:, None].expand(-1, len(ks), -1))
    correct = (own[:, :, None] >= bars[..., None]).sum(dim=3, dtype=torch.int32)
    union = torch.from_numpy(seen.sum(axis=2, keepdims=True, dtype=np.int32))
    guessed = union.clamp(max=torch.tensor([width, *top_n], dtype=torch.int32))
    return _Counts(correct, guessed, there, seen)


def _columns(objects: Tensor, classes: int) -> Tensor:
    """(N, O) padded with -1 to columns of a table: each of the O places has one for where it is empty.

    To add all empty places up in one column, or to look up wider integers, takes longer.
    """
    width = classes + objects.shape[1]
    columns = objects.where(objects >= 0, torch.arange(classes, width))
    return columns.to(torch.int16 if width <= 2**15 else torch.int32)
