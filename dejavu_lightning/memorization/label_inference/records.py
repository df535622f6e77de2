"""Records of inferred labels, whoever inferred them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from dejavu_lightning.core.records import Records


def label_records(
    ids: list[str],
    labels: Tensor,
    ranked: Tensor,
    *,
    confidence: Tensor,
    settings: dict[str, Any],
    neighbors: list[list[str]] | None = None,
) -> Records:
    """Records of inferred labels.

    Args:
        labels: (N,) int64, the true ones.
        ranked: (N, up to 5) int64, the most likely first; -1 where there is none.
        confidence: (N,) negative entropy in nats of what was inferred.
        settings: what the records depend on besides the model.
        neighbors: (N,) ids of the nearest public samples; empty where none were asked.
    """
    return Records(
        pa.table(
            {
                "id": ids,
                "label": labels.numpy(),
                "predicted": ranked[:, 0].numpy(),
                "confidence": confidence.numpy(),
                "correct": (ranked[:, 0] == labels).numpy(),
                "correct_top5": (ranked == labels[:, None]).any(dim=1).numpy(),
                "neighbors": pa.array(neighbors or [[] for _ in ids], pa.list_(pa.string())),
            }
        ),
        settings,
    )


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
    return label_records(
        ids,
        labels,
        torch.cat(ranked),
        confidence=-torch.cat(entropy),
        settings=settings,
    )


def _likeliest(probabilities: Tensor, count: int) -> Tensor:
    """(N, count) classes, the likeliest first, of equal ones the lower; sorting all C would take most of the time."""
    left = probabilities.clone()
    chosen = []
    for _ in range(count):
        chosen.append(left.argmax(dim=1, keepdim=True))  # the first of equal ones
        left.scatter_(1, chosen[-1], -1.0)
    return torch.cat(chosen, dim=1)
