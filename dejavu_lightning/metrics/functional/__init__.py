"""Memorization metrics as functions."""

from dejavu_lightning.metrics.functional.checks import check_any, check_fraction, check_labels, check_paired
from dejavu_lightning.metrics.functional.labels import (
    Partition,
    dejavu_score,
    kept_records,
    kept_weights,
    label_votes,
    partition,
    rank_labels,
    vote_confidence,
)
from dejavu_lightning.metrics.functional.objects import (
    Overlap,
    auc_gap,
    counted_overlap,
    equal_votes,
    object_overlap,
    object_votes,
    population_gap,
    top_objects,
)

__all__ = [
    "Overlap",
    "Partition",
    "auc_gap",
    "check_any",
    "check_fraction",
    "check_labels",
    "check_paired",
    "counted_overlap",
    "dejavu_score",
    "equal_votes",
    "kept_records",
    "kept_weights",
    "label_votes",
    "object_overlap",
    "object_votes",
    "partition",
    "population_gap",
    "rank_labels",
    "top_objects",
    "vote_confidence",
]
