"""Metrics of retrieved objects: tensors in, tensors out.

N records, C objects, K neighbours of each record, nearest first.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dejavu_lightning.metrics.functional.checks import check_any, check_paired


class Overlap(NamedTuple):
    """How well predicted objects match the true ones; (N,) float64 in [0, 1] each.

    Example:
        >>> from torch import tensor
        >>> found = object_overlap(tensor([[True, False, True, True]]), tensor([[True, True, False, False]]))
        >>> [round(float(value), 3) for value in found]
        [0.333, 0.5, 0.4]
    """

    precision: Tensor
    """Share of the predicted objects that are there; 0 where none is predicted."""
    recall: Tensor
    """Share of the objects there that are predicted."""
    f_score: Tensor
    """Harmonic mean of the two; 0 where both are."""


def object_votes(neighbors: Tensor, objects: Tensor, num_objects: int, k: int | None = None) -> Tensor:
    """Count how many of the nearest neighbours show each object.

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

    Example:
        >>> from torch import tensor
        >>> public = tensor([[0, 2], [2, -1], [1, -1]])  # the objects of three pictures
        >>> object_votes(tensor([[0, 1]]), public, num_objects=3)  # the first two are near
        tensor([[1, 0, 2]])
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
    """Predict the n objects with most votes.

    Of equal votes the object of the closest voter comes first, then the lower object.

    Args:
        votes: (N, C) from :func:`object_votes`.
        neighbors, objects: as in :func:`object_votes`; all K neighbours may have voted, or the first of them.
        n: objects to predict, at least 1.

    Returns:
        (N, C) boolean with at most n objects of each record; an object without votes is never predicted.

    Raises:
        ValueError: n is below 1.

    Example:
        >>> from torch import tensor
        >>> public, near = tensor([[0, 2], [2, -1], [1, -1]]), tensor([[0, 1]])
        >>> top_objects(object_votes(near, public, num_objects=3), near, public, n=1)
        tensor([[False, False,  True]])
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
    """Rank the objects that have equal votes: that of the closest voter first, then the lower one.

    Args:
        shown: (N, reach * O) int64 in [0, width), O objects of each neighbour, nearest first.
        reach: K, how many neighbours that is.
        width: how many objects there are.
        dtype: of the ranks.

    Returns:
        (N, width) higher is first; the objects shown, in [0, reach * width), have unequal numbers.

    Example:
        >>> from torch import tensor
        >>> equal_votes(tensor([[2, 0]]), reach=2, width=3)  # 2 is shown by the nearer of two neighbours
        tensor([[2, 1, 3]])
    """
    rank = torch.arange(reach, dtype=dtype, device=shown.device).repeat_interleave(shown.shape[1] // reach)
    closest = torch.full((len(shown), width), reach - 1, dtype=dtype, device=shown.device)
    closest.scatter_reduce_(1, shown, rank.expand_as(shown), reduce="amin")
    first = torch.arange(width * reach - 1, width * (reach - 1) - 1, -1, dtype=dtype, device=shown.device)
    return first - closest * width


def object_overlap(predicted: Tensor, truth: Tensor) -> Overlap:
    """Compute precision, recall and F of predicted sets of objects.

    Jayaraman et al. (2024, arXiv 2402.02103, section 3).

    Args:
        predicted: (N, C) boolean, the objects predicted of each record.
        truth: (N, C) boolean, the objects that are there; at least one of each record.

    Returns:
        Three tensors (N,), float64 in [0, 1].

    Raises:
        ValueError: shapes differ, or a record has no true object: its recall is undefined, leave it out.

    Example:
        >>> from torch import tensor
        >>> found = object_overlap(tensor([[True, False, True]]), tensor([[True, True, False]]))
        >>> found.precision, found.recall
        (tensor([0.5000], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
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
    """Compute :func:`object_overlap` from numbers of objects.

    Args:
        both: (N,) integers, how many objects are predicted rightly.
        guessed: (N,) integers, how many are predicted.
        there: (N,) integers, how many there are; at least 1.

    Returns:
        Three tensors (N,), float64 in [0, 1].

    Example:
        >>> from torch import tensor
        >>> counted_overlap(both=tensor([1]), guessed=tensor([3]), there=tensor([2])).f_score
        tensor([0.4000], dtype=torch.float64)
    """
    both = both.double()
    return Overlap(both / guessed.clamp(min=1), both / there, 2 * both / (guessed + there))


def population_gap(target: Tensor, reference: Tensor) -> Tensor:
    """Share of records on which the target does better, minus the share on which the reference does.

    PPG of precisions and PRG of recalls (Jayaraman et al. 2024, arXiv 2402.02103, section 3.2).

    Args:
        target, reference: (N,) values of both models on the same records in the same order.

    Returns:
        0-dim float64 in [-1, 1].

    Raises:
        ValueError: shapes differ, or there are no records.

    Example:
        >>> from torch import tensor
        >>> population_gap(tensor([0.5, 0.2, 0.7, 1.0]), tensor([0.1, 0.4, 0.7, 0.0]))  # better on two, worse on one
        tensor(0.2500, dtype=torch.float64)
    """
    check_paired(target=target, reference=reference)
    check_any(len(target))
    return torch.sign(target.double() - reference.double()).mean()


def auc_gap(target_recall: Tensor, reference_recall: Tensor) -> Tensor:
    """Compute AUCG: the area between the curves P(recall >= t) of target and reference, t in [0, 1].

    The area under such a curve is the mean recall, so no histogram is needed (Jayaraman et al. 2024, arXiv 2402.02103,
    section 3.2, read it off one).

    Args:
        target_recall, reference_recall: (N,) in [0, 1], of the same records.

    Returns:
        0-dim float64 in [-1, 1].

    Raises:
        ValueError: shapes differ, or there are no records.

    Example:
        >>> from torch import tensor
        >>> auc_gap(tensor([0.5, 0.25]), tensor([0.25, 0.0]))
        tensor(0.2500, dtype=torch.float64)
    """
    check_paired(target_recall=target_recall, reference_recall=reference_recall)
    check_any(len(target_recall))
    return target_recall.double().mean() - reference_recall.double().mean()
