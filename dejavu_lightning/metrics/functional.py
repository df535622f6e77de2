"""Memorization metrics: tensors in, tensors out.

N records, C classes, K neighbours of each record, nearest first.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Partition(NamedTuple):
    """Shares of all records, 0-dim float64 in [0, 1]; they sum to 1 (Meehan et al. 2023, section 4)."""

    memorized: Tensor
    """Only the target is right."""
    correlated: Tensor
    """Both are right."""
    misrepresented: Tensor
    """Only the reference is right."""
    unassociated: Tensor
    """Both are wrong."""


class Overlap(NamedTuple):
    """How well predicted objects match the true ones; (N,) float64 in [0, 1] each."""

    precision: Tensor
    """Share of the predicted objects that are there; 0 where none is predicted."""
    recall: Tensor
    """Share of the objects there that are predicted."""
    f_score: Tensor
    """Harmonic mean of the two; 0 where both are."""


def label_votes(neighbor_labels: Tensor, num_classes: int, k: int | None = None) -> Tensor:
    """Count the labels of the nearest neighbours, unweighted.

    Args:
        neighbor_labels: (N, K) integers in [0, num_classes), nearest first.
        num_classes: C.
        k: how many of the K neighbours vote; all if not given.

    Returns:
        (N, C) int64 counts; each row sums to k.

    Raises:
        ValueError: k is not in [1, K], or a label is not in [0, num_classes).
    """
    if neighbor_labels.ndim != 2:
        raise ValueError(f"neighbor_labels must have shape (N, K), got {tuple(neighbor_labels.shape)}")
    k = neighbor_labels.shape[1] if k is None else k
    if not 1 <= k <= neighbor_labels.shape[1]:
        raise ValueError(f"k must lie in [1, {neighbor_labels.shape[1]}], the number of neighbours given; got {k}")
    check_labels("neighbor_labels", neighbor_labels, num_classes)
    voters = neighbor_labels[:, :k].long()
    votes = torch.zeros(len(voters), num_classes, dtype=torch.int64, device=voters.device)
    return votes.scatter_add_(1, voters, torch.ones_like(voters))


def vote_confidence(votes: Tensor) -> Tensor:
    """Negative entropy of the votes, in nats: 0 if all agree, -log C if they spread evenly.

    votes (N, C) nonnegative -> (N,) float64.
    """
    share = votes.double() / votes.sum(dim=1, keepdim=True)
    return torch.xlogy(share, share).sum(dim=1)


def rank_labels(votes: Tensor, neighbor_labels: Tensor, top_k: int) -> Tensor:
    """Classes by number of votes; of equal ones first that with the closest voter, then the lower class.

    Args:
        votes: (N, C) from :func:`label_votes`.
        neighbor_labels: (N, K) the labels that voted, nearest first.
        top_k: classes to return.

    Returns:
        (N, top_k) int64. A class without votes is never predicted: -1 fills the places that are left.

    Raises:
        ValueError: top_k is below 1, or a label is not in [0, C).
    """
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    rows, classes = votes.shape
    check_labels("neighbor_labels", neighbor_labels, classes)
    neighbors = neighbor_labels.shape[1]
    rank = torch.arange(neighbors, device=votes.device).expand(rows, neighbors)
    closest = torch.full((rows, classes), neighbors, device=votes.device)
    closest.scatter_reduce_(1, neighbor_labels.long(), rank, reduce="amin")
    preference = votes * (neighbors + 1) + (neighbors - closest)  # closeness only decides between equal votes
    order = preference.argsort(dim=1, descending=True, stable=True)[:, :top_k]
    ranked = torch.where(votes.gather(1, order) > 0, order, -1)
    return torch.nn.functional.pad(ranked, (0, top_k - ranked.shape[1]), value=-1)


def partition(target_correct: Tensor, reference_correct: Tensor) -> Partition:
    """Share of records that are memorized, correlated, misrepresented and unassociated.

    target_correct, reference_correct (N,) booleans of the same records in the same order.
    """
    check_paired(target_correct=target_correct, reference_correct=reference_correct)
    check_any(len(target_correct))
    target, reference = target_correct.bool(), reference_correct.bool()
    cells = (target & ~reference, target & reference, ~target & reference, ~target & ~reference)
    return Partition(*(cell.double().mean() for cell in cells))


def dejavu_score(
    target_correct: Tensor,
    reference_correct: Tensor,
    target_confidence: Tensor,
    reference_confidence: Tensor,
    fraction: float = 1.0,
) -> Tensor:
    """Target accuracy minus reference accuracy, each on the records that its model is most confident of.

    Args:
        target_correct, reference_correct: (N,) booleans.
        target_confidence, reference_confidence: (N,) any scale, higher is more confident.
        fraction: p in (0, 1]; n = max(1, floor(p N)) records are kept of each model. Records equally confident at
            the cut count by their mean, the expected value of a random order.

    Returns:
        0-dim float64 in [-1, 1].

    Raises:
        ValueError: shapes differ, there are no records, or fraction is not in (0, 1].
    """
    check_paired(
        target_correct=target_correct,
        reference_correct=reference_correct,
        target_confidence=target_confidence,
        reference_confidence=reference_confidence,
    )
    check_any(len(target_correct))
    target, reference = (kept_weights(each, fraction) for each in (target_confidence, reference_confidence))
    return (target * target_correct).sum() / target.sum() - (reference * reference_correct).sum() / reference.sum()


def kept_weights(confidence: Tensor, fraction: float) -> Tensor:
    """How much each record counts where the max(1, floor(fraction * N)) most confident are kept.

    Records equally confident at the cut share what is left of it, so that a mean over the kept ones is that of all
    random orders of ties. Confidences that agree to nine decimals are equal: entropies of the same votes may differ
    in their last bits.

    confidence (N,) -> (N,) float64 in [0, 1]; they add up to the number of records kept.
    """
    check_fraction(fraction)
    kept = kept_records(fraction, len(confidence))
    rounded = confidence.double().round(decimals=9)
    cut = rounded.kthvalue(len(rounded) - kept + 1).values
    above, tied = rounded > cut, rounded == cut
    return above.double() + tied.double() * ((kept - above.sum()) / tied.sum())


def kept_records(fraction: float, records: int) -> int:
    """max(1, floor(fraction * records)), exact also where 0.29 * 100 falls just below 29 in floating point."""
    return max(1, int(fraction * records + 1e-9))


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


def check_paired(**values: Tensor) -> None:
    """Raise unless the named tensors are of the same records, (N,) each."""
    shapes = [tuple(value.shape) for value in values.values()]
    if len(shapes[0]) != 1 or len(set(shapes)) > 1:
        raise ValueError(
            f"{', '.join(values)} must have the same shape (N,), a value a record; got {', '.join(map(str, shapes))}"
        )


def check_any(records: int) -> None:
    """Raise where there is nothing to average."""
    if not records:
        raise ValueError("there are no records to measure; give at least one")


def check_fraction(fraction: float) -> None:
    """Raise unless ``fraction`` of the records are some of them."""
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction}")


def check_labels(name: str, labels: Tensor, num_classes: int) -> None:
    """Raise unless all labels, which errors call ``name``, are classes."""
    if labels.numel() and not (0 <= int(labels.min()) and int(labels.max()) < num_classes):
        raise ValueError(f"{name} run from {int(labels.min())} to {int(labels.max())}, outside [0, {num_classes})")
