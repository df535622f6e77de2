"""The déjà vu tests: any encoder to records, any reference to comparable records, one comparison."""

from dejavu_lightning.memorization.attack import Attack, MemorizationTest
from dejavu_lightning.memorization.cache import EmbeddingCache
from dejavu_lightning.memorization.compare import Comparison, compare, symmetric_average
from dejavu_lightning.memorization.crop_classifier import CropClassifier
from dejavu_lightning.memorization.encoders import Encoder, ModuleEncoder
from dejavu_lightning.memorization.label_inference import LabelInference
from dejavu_lightning.memorization.measure import Measurement, measure
from dejavu_lightning.memorization.naive_bayes import NaiveBayes
from dejavu_lightning.memorization.neighbors import nearest_neighbors
from dejavu_lightning.memorization.object_retrieval import ObjectRetrieval
from dejavu_lightning.memorization.preprocessing import Preprocessing
from dejavu_lightning.memorization.records import Records
from dejavu_lightning.memorization.references import Checkpoint, HeldOut, Reference, SecondModel
from dejavu_lightning.memorization.sample_gaps import sample_gaps
from dejavu_lightning.memorization.sets import (
    Exhibit,
    LabelledSamples,
    MemorizationSets,
    Samples,
    ShownSamples,
    SplitRecord,
)
from dejavu_lightning.memorization.text_embedder import TextEmbedder

__all__ = [
    "Attack",
    "Checkpoint",
    "Comparison",
    "CropClassifier",
    "EmbeddingCache",
    "Encoder",
    "Exhibit",
    "HeldOut",
    "LabelInference",
    "LabelledSamples",
    "Measurement",
    "MemorizationSets",
    "MemorizationTest",
    "ModuleEncoder",
    "NaiveBayes",
    "ObjectRetrieval",
    "Preprocessing",
    "Records",
    "Reference",
    "Samples",
    "SecondModel",
    "ShownSamples",
    "SplitRecord",
    "TextEmbedder",
    "compare",
    "measure",
    "nearest_neighbors",
    "sample_gaps",
    "symmetric_average",
]
