"""Annotate pictures with the objects that a published detector finds."""

from dejavu_lightning.annotation.annotation_file import AnnotationFile, AnnotationProgress, annotate_pictures
from dejavu_lightning.annotation.crop_batches import CropBatches
from dejavu_lightning.annotation.detection import Detection, Detector
from dejavu_lightning.annotation.detectors import load_detector
from dejavu_lightning.annotation.picture_batches import AnnotationPicture, FolderBatches, ShardBatches
from dejavu_lightning.annotation.torchvision_detector import TorchvisionDetector
from dejavu_lightning.annotation.torchvision_tagger import TorchvisionTagger
from dejavu_lightning.annotation.zero_shot_detector import ZeroShotDetector

__all__ = [
    "AnnotationFile",
    "AnnotationPicture",
    "AnnotationProgress",
    "CropBatches",
    "Detection",
    "Detector",
    "FolderBatches",
    "ShardBatches",
    "TorchvisionDetector",
    "TorchvisionTagger",
    "ZeroShotDetector",
    "annotate_pictures",
    "load_detector",
]
