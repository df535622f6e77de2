"""Load published models, so that the tests can encode with them."""

from dejavu_lightning.pretrained.callable_model import CallableModel
from dejavu_lightning.pretrained.hugging_face import HuggingFaceModel
from dejavu_lightning.pretrained.open_clip_model import OpenClipModel
from dejavu_lightning.pretrained.pretrained_model import LoadedModel, PretrainedModel
from dejavu_lightning.pretrained.programs import ExportedFile, TorchScriptFile
from dejavu_lightning.pretrained.timm_model import TimmModel
from dejavu_lightning.pretrained.torchvision_model import TorchvisionModel
from dejavu_lightning.pretrained.weights_file import WeightsFile

__all__ = [
    "CallableModel",
    "ExportedFile",
    "HuggingFaceModel",
    "LoadedModel",
    "OpenClipModel",
    "PretrainedModel",
    "TimmModel",
    "TorchScriptFile",
    "TorchvisionModel",
    "WeightsFile",
]
