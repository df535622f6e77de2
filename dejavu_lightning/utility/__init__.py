"""What a representation is good for: linear probe and nearest neighbours on frozen features."""

from dejavu_lightning.utility.knn import NearestNeighborProbe
from dejavu_lightning.utility.linear_probe import LinearProbe
from dejavu_lightning.utility.measure import measure_utility
from dejavu_lightning.utility.probe import Probe
from dejavu_lightning.utility.sets import UtilitySets

__all__ = ["LinearProbe", "NearestNeighborProbe", "Probe", "UtilitySets", "measure_utility"]
