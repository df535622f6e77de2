"""The déjà vu tests: any encoder to records, any reference to comparable records, one comparison."""

from dejavu_lightning.memorization.compare import Comparison, compare, symmetric_average
from dejavu_lightning.memorization.encoders import Encoder, ModuleEncoder
from dejavu_lightning.memorization.label_inference import LabelInference
from dejavu_lightning.memorization.measure import Measurement, measure
from dejavu_lightning.memorization.neighbors import nearest_neighbors
from dejavu_lightning.memorization.records import Records
from dejavu_lightning.memorization.references import Checkpoint, HeldOut, Reference
from dejavu_lightning.memorization.sets import Exhibit, MemorizationSets, Samples, ShownSamples, SplitRecord

__all__ = [
    "Checkpoint",
    "Comparison",
    "Encoder",
    "Exhibit",
    "HeldOut",
    "LabelInference",
    "Measurement",
    "MemorizationSets",
    "ModuleEncoder",
    "Records",
    "Reference",
    "Samples",
    "ShownSamples",
    "SplitRecord",
    "compare",
    "measure",
    "nearest_neighbors",
    "symmetric_average",
]
