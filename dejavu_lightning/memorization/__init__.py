"""The déjà vu tests: any encoder to records, any reference to comparable records, one comparison."""

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.records import Records
from dejavu_lightning.core.samples import DisplayableSamples, DisplaySample, LabelledSamples, Samples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.split_record import SplitRecord
from dejavu_lightning.embedding.encoders import Encoder, ModuleEncoder
from dejavu_lightning.embedding.neighbors import nearest_neighbors
from dejavu_lightning.memorization.compare import Comparison, compare, symmetric_average
from dejavu_lightning.memorization.label_inference.attack import LabelInference
from dejavu_lightning.memorization.measure import Measurement, measure
from dejavu_lightning.memorization.object_retrieval.attack import ObjectRetrieval
from dejavu_lightning.memorization.object_retrieval.sample_gaps import sample_gaps
from dejavu_lightning.memorization.protocols import Attack, MemorizationTest
from dejavu_lightning.memorization.references.crop_classifier import CropClassifier
from dejavu_lightning.memorization.references.naive_bayes import NaiveBayes
from dejavu_lightning.memorization.references.second_model import Checkpoint, HeldOut, Reference, SecondModel
from dejavu_lightning.memorization.references.text_embedder import TextEmbedder

__all__ = [
    "Attack",
    "Checkpoint",
    "Comparison",
    "CropClassifier",
    "DisplaySample",
    "DisplayableSamples",
    "Encoder",
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
    "SplitRecord",
    "TextEmbedder",
    "compare",
    "measure",
    "nearest_neighbors",
    "sample_gaps",
    "symmetric_average",
]
