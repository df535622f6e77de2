"""Records of inferred labels, whoever inferred them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from dejavu_lightning.core.records import Records
from dejavu_lightning.metrics.functional import label_votes, rank_labels, vote_confidence

ROWS_AT_ONCE = 4096  # bounds the (rows, classes) table of votes

Inferred = tuple[Tensor, Tensor]  # (N, up to 5) int64 labels, the likeliest first, -1 for none; (N,) confidence


def ranked_by_votes(neighbor_labels: Tensor, num_classes: int) -> Inferred:
    """What the labels of the nearest neighbours (N, k), nearest first, say; all of them vote."""
    ranked, confidence = [], []
    for part in torch.split(neighbor_labels, ROWS_AT_ONCE):
        votes = label_votes(part, num_classes)
        ranked.append(rank_labels(votes, part, top_k=min(5, num_classes)))
        confidence.append(vote_confidence(votes))
    return torch.cat(ranked), torch.cat(confidence)


def label_records(
    ids: list[str],
    labels: Tensor,
    inferred: Inferred,
    *,
    settings: dict[str, Any],
    further: Mapping[str, Inferred] | None = None,
    neighbors: list[list[str]] | None = None,
) -> Records:
    """Records of inferred labels.

    Args:
        labels: (N,) int64, the true ones.
        inferred: the labels, and the negative entropy in nats of what they are of.
        settings: what the records depend on besides the model.
        further: of further layers or numbers of neighbours, by name; columns ``correct/<name>`` and likewise.
        neighbors: (N,) ids of the nearest public samples; empty where none were asked.
    """
    columns: dict[str, Any] = {"id": ids, "label": labels.numpy(), "predicted": inferred[0][:, 0].numpy()}
    for suffix, (ranked, confidence) in {
        "": inferred,
        **{f"/{name}": more for name, more in (further or {}).items()},
    }.items():
        columns |= {
            f"confidence{suffix}": confidence.numpy(),
            f"correct{suffix}": (ranked[:, 0] == labels).numpy(),
            f"correct_top5{suffix}": (ranked == labels[:, None]).any(dim=1).numpy(),
        }
    columns["neighbors"] = pa.array(neighbors or [[] for _ in ids], pa.list_(pa.string()))
    return Records(pa.table(columns), settings)


def records_of_probabilities(
    ids: list[str], labels: Tensor, probabilities: Iterable[Tensor], settings: dict[str, Any]
) -> Records:
    """Records of a classifier: the likeliest label, the negative entropy over all C classes.

    Args:
        labels: (N,) int64.
        probabilities: (N, C) in parts of any number of rows; a row adds up to 1. Of equal ones the lower class
            comes first.
        settings: as in :func:`label_records`.
    """
    ranked, entropy = [], []
    for part in probabilities:
        ranked.append(_likeliest(part, min(5, part.shape[1])))
        entropy.append(torch.special.entr(part).sum(dim=1))
    return label_records(ids, labels, (torch.cat(ranked), -torch.cat(entropy)), settings=settings)


def _likeliest(probabilities: Tensor, count: int) -> Tensor:
    """(N, count) classes, the likeliest first, of equal ones the lower; sorting all C would take most of the time."""
    left = probabilities.clone()
    chosen = []
    for _ in range(count):
        chosen.append(left.argmax(dim=1, keepdim=True))  # the first of equal ones
        left.scatter_(1, chosen[-1], -1.0)
    return torch.cat(chosen, dim=1)
