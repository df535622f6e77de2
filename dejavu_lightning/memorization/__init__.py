"""The déjà vu tests: any encoder to records, any reference to comparable records, one comparison."""

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.records import Records
from dejavu_lightning.core.samples import DisplayableSamples, DisplaySample, LabelledSamples, Samples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.split_record import SplitRecord
from dejavu_lightning.embedding.encoders import Encoder, ModuleEncoder
from dejavu_lightning.embedding.nearest.neighbors import nearest_neighbors
from dejavu_lightning.memorization.catalog import TESTS, find_test, register_test
from dejavu_lightning.memorization.compare import compare, symmetric_average
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.forgotten_records import forgetting
from dejavu_lightning.memorization.group_column import GroupColumn
from dejavu_lightning.memorization.label_inference.attack import LabelInference
from dejavu_lightning.memorization.measure import Measurement, measure
from dejavu_lightning.memorization.object_retrieval.attack import ObjectRetrieval
from dejavu_lightning.memorization.object_retrieval.sample_level import sample_gaps
from dejavu_lightning.memorization.pair_alignment.attack import PairAlignment
from dejavu_lightning.memorization.protocols import Attack, Comparison, MemorizationTest, Reference, ReferenceRecords
from dejavu_lightning.memorization.records_over_seeds import over_seeds
from dejavu_lightning.memorization.references.checkpoint import Checkpoint
from dejavu_lightning.memorization.references.crop_classifier import CropClassifier
from dejavu_lightning.memorization.references.held_out import HeldOut
from dejavu_lightning.memorization.references.naive_bayes import NaiveBayes
from dejavu_lightning.memorization.references.second_model import SecondModel
from dejavu_lightning.memorization.references.text_embedder import TextEmbedder
from dejavu_lightning.memorization.view_alignment.attack import ViewAlignment

__all__ = [
    "TESTS",
    "Attack",
    "Checkpoint",
    "Comparison",
    "CropClassifier",
    "Display",
    "DisplaySample",
    "DisplayableSamples",
    "Encoder",
    "GroupColumn",
    "HeldOut",
    "LabelInference",
    "LabelledSamples",
    "Measurement",
    "MemorizationSets",
    "MemorizationTest",
    "ModuleEncoder",
    "NaiveBayes",
    "ObjectRetrieval",
    "PairAlignment",
    "Preprocessing",
    "Records",
    "Reference",
    "ReferenceRecords",
    "Samples",
    "SecondModel",
    "SplitRecord",
    "TextEmbedder",
    "ViewAlignment",
    "compare",
    "find_test",
    "forgetting",
    "measure",
    "nearest_neighbors",
    "over_seeds",
    "register_test",
    "sample_gaps",
    "symmetric_average",
]
