"""Memorization metrics: pure functions in :mod:`~dejavu_lightning.metrics.functional`, and torchmetrics over them.

The classes add what a loop needs: ``update`` batch by batch, ``compute`` over the records of all processes. Give every
record once: a sampler that repeats records to fill up its ranks' shares makes them count twice.
"""

from dejavu_lightning.metrics.dejavu_score import DejaVuScore
from dejavu_lightning.metrics.label_inference_accuracy import LabelInferenceAccuracy
from dejavu_lightning.metrics.object_overlap import ObjectOverlap
from dejavu_lightning.metrics.population_gap import AUCGap, PopulationGap

__all__ = ["AUCGap", "DejaVuScore", "LabelInferenceAccuracy", "ObjectOverlap", "PopulationGap"]
