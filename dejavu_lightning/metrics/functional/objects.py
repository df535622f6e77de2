"""Metrics of retrieved objects: tensors in, tensors out.

N records, C objects, K neighbours of each record, nearest first.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dejavu_lightning.metrics.functional.checks import check_any, check_paired


class Overlap(NamedTuple):
    """How well predicted objects match the true ones; (N,) float64 in [0, 1] each."""

    precision: Tensor
    """Share of the predicted objects that are there; 0 where none is predicted."""
    recall: Tensor
    """Share of the objects there that are predicted."""
    f_score: Tensor
    """Harmonic mean of the two; 0 where both are."""


def object_votes(neighbors: Tensor, objects: Tensor, num_objects: int, k: int | None = None) -> Tensor:
    """How many of the nearest neighbours show each object.

    Args:
        neighbors: (N, K) rows of ``objects``, nearest first.
        objects: (M, O) integers in [0, num_objects), the objects of each public sample, each once; -1 fills
            the places that are left.
        num_objects: C.
        k: how many of the K neighbours vote; all if not given.

    Returns:
        (N, C) int64 counts in [0, k].

    Raises:
        ValueError: k is not in [1, K], or an object is not in [-1, num_objects).
    """
    k = neighbors.shape[1] if k is None else k
    if not 1 <= k <= neighbors.shape[1]:
        raise ValueError(f"k must lie in [1, {neighbors.shape[1]}], the number of neighbours given; got {k}")
    if objects.numel() and not (-1 <= int(objects.min()) and int(objects.max()) < num_objects):
        raise ValueError(f"objects run from {int(objects.min())} to {int(objects.max())}, outside [0, {num_objects})")
    rows, width = len(neighbors), num_objects + 1  # a column for the empty places
    shown = objects[neighbors[:, :k]].flatten(1).long() + 1  # N, k * O
    cell = shown + torch.arange(rows, device=shown.device)[:, None] * width
    return torch.bincount(cell.flatten(), minlength=rows * width).view(rows, width)[:, 1:]


def top_objects(votes: Tensor, neighbors: Tensor, objects: Tensor, n: int) -> Tensor:
    """The n objects with most votes; of equal ones first that of the closest voter, then the lower object.

    Args:
        votes: (N, C) from :func:`object_votes`.
        neighbors, objects: as in :func:`object_votes`; all K neighbours may have voted, or the first of them.
        n: objects to predict, at least 1.

    Returns:
        (N, C) boolean with at most n objects of each record; an object without votes is never predicted.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    classes, reach = votes.shape[1], neighbors.shape[1]
    if n >= classes:
        return votes > 0
    shown = objects[neighbors].flatten(1).long() + 1  # N, K * O
    preference = votes * reach * (classes + 1) + equal_votes(shown, reach, classes + 1)[:, 1:]
    least = preference.topk(n, dim=1).values[:, -1:]
    return (preference >= least) & (votes > 0)


def equal_votes(shown: Tensor, reach: int, width: int, dtype: torch.dtype = torch.int64) -> Tensor:
    """Which object comes first of those with equal votes: that of the closest voter, then the lower one.

    Args:
        shown: (N, reach * O) int64 in [0, width), O objects of each neighbour, nearest first.
        reach: K, how many neighbours that is.

    Returns:
        (N, width) higher is first; the objects shown, in [0, reach * width), have unequal numbers.
    """
    rank = torch.arange(reach, dtype=dtype, device=shown.device).repeat_interleave(shown.shape[1] // reach)
    closest = torch.full((len(shown), width), reach - 1, dtype=dtype, device=shown.device)
    closest.scatter_reduce_(1, shown, rank.expand_as(shown), reduce="amin")
    first = torch.arange(width * reach - 1, width * (reach - 1) - 1, -1, dtype=dtype, device=shown.device)
    return first - closest * width


def object_overlap(predicted: Tensor, truth: Tensor) -> Overlap:
    """Precision, recall and F of predicted sets of objects (Jayaraman et al. 2024, arXiv 2402.02103, section 3).

    Args:
        predicted: (N, C) boolean, the objects predicted of each record.
        truth: (N, C) boolean, the objects that are there; at least one of each record.

    Raises:
        ValueError: shapes differ, or a record has no true object: its recall is undefined, leave it out.
    """
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise ValueError(
            f"predicted and truth must have the same shape (N, C), got {tuple(predicted.shape)} and "
            f"{tuple(truth.shape)}"
        )
    predicted, truth = predicted.bool(), truth.bool()
    there = truth.sum(dim=1)
    if (there == 0).any():
        raise ValueError(f"record {int((there == 0).nonzero()[0])} has no true object, its recall is undefined")
    return counted_overlap((predicted & truth).sum(dim=1), predicted.sum(dim=1), there)


def counted_overlap(both: Tensor, guessed: Tensor, there: Tensor) -> Overlap:
    """:func:`object_overlap` from the numbers of objects: right ones, predicted ones, true ones; (N,) integers."""
    both = both.double()
    return Overlap(both / guessed.clamp(min=1), both / there, 2 * both / (guessed + there))


def population_gap(target: Tensor, reference: Tensor) -> Tensor:
    """Share of records on which the target does better, minus the share on which the reference does.

    PPG of precisions and PRG of recalls (Jayaraman et al. 2024, arXiv 2402.02103, section 3.2).

    target, reference (N,) of the same records in the same order -> 0-dim float64 in [-1, 1].
    """
    check_paired(target=target, reference=reference)
    check_any(len(target))
    return torch.sign(target.double() - reference.double()).mean()


def auc_gap(target_recall: Tensor, reference_recall: Tensor) -> Tensor:
    """AUCG: the area between the two curves P(recall >= t), t in [0, 1].

    The area under such a curve is the mean recall, so no histogram is needed.

    target_recall, reference_recall (N,) in [0, 1] -> 0-dim float64 in [-1, 1].
    """
    check_paired(target_recall=target_recall, reference_recall=reference_recall)
    check_any(len(target_recall))
    return target_recall.double().mean() - reference_recall.double().mean()
