"""What a representation is good for: probes of frozen features, zero-shot classification, retrieval."""

from dejavu_lightning.utility.knn import NearestNeighborProbe
from dejavu_lightning.utility.linear_probe import LinearProbe
from dejavu_lightning.utility.measure import measure_utility
from dejavu_lightning.utility.probe import PairMeasure, Probe
from dejavu_lightning.utility.retrieval import CaptionRetrieval, NamedObjects
from dejavu_lightning.utility.sets import UtilitySets
from dejavu_lightning.utility.zero_shot import ZeroShot

__all__ = [
    "CaptionRetrieval",
    "LinearProbe",
    "NamedObjects",
    "NearestNeighborProbe",
    "PairMeasure",
    "Probe",
    "UtilitySets",
    "ZeroShot",
    "measure_utility",
]
