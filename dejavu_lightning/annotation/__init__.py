"""Find the objects of pictures that nobody annotated, with detectors of others."""

from dejavu_lightning.annotation.annotate import Annotations, Progress, annotate_pictures
from dejavu_lightning.annotation.crops import CropBatches
from dejavu_lightning.annotation.detectors import Detection, Detector, load_detector
from dejavu_lightning.annotation.pictures import FolderBatches, Picture, ShardBatches
from dejavu_lightning.annotation.torchvision_detector import TorchvisionDetector
from dejavu_lightning.annotation.torchvision_tagger import TorchvisionTagger
from dejavu_lightning.annotation.zero_shot import ZeroShotDetector

__all__ = [
    "Annotations",
    "CropBatches",
    "Detection",
    "Detector",
    "FolderBatches",
    "Picture",
    "Progress",
    "ShardBatches",
    "TorchvisionDetector",
    "TorchvisionTagger",
    "ZeroShotDetector",
    "annotate_pictures",
    "load_detector",
]
