"""Measure the utility of a representation: probes of frozen features, zero-shot classification, retrieval."""

from dejavu_lightning.core.sets import UtilitySets
from dejavu_lightning.utility.averages import Average
from dejavu_lightning.utility.knn import NearestNeighborProbe
from dejavu_lightning.utility.linear_probe import LinearProbe
from dejavu_lightning.utility.probe import PairMeasure, Probe
from dejavu_lightning.utility.retrieval import CaptionRetrieval, NamedObjects
from dejavu_lightning.utility.utility_metrics import (
    UtilityMeasurement,
    check_features,
    measure_utility,
    probe_metrics,
    sample_ids,
    utility_measurement,
)
from dejavu_lightning.utility.zero_shot import ZeroShot

__all__ = [
    "Average",
    "CaptionRetrieval",
    "LinearProbe",
    "NamedObjects",
    "NearestNeighborProbe",
    "PairMeasure",
    "Probe",
    "UtilityMeasurement",
    "UtilitySets",
    "ZeroShot",
    "check_features",
    "measure_utility",
    "probe_metrics",
    "sample_ids",
    "utility_measurement",
]
