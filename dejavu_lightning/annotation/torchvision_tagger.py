"""Torchvision's classifiers as taggers: classes of the whole picture, without boxes of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision import models
from torchvision.models import get_model, get_model_weights, list_models
from torchvision.transforms.v2.functional import normalize, resize

from dejavu_lightning.annotation.detection import Detection, check_threshold
from dejavu_lightning.annotation.torchvision_weights import chosen_weights, load_weights

TAGGERS: list[str] = list_models(module=models)
TAGS = 20  # of a picture at most


class TorchvisionTagger:
    """A classification model of torchvision; its likeliest classes are the tags, their box is the whole picture.

    Pictures are squeezed into the square that the published weights take, so that all of them is seen.

    Args:
        name: such as "resnet50".
        labels: with ``weights``, the names of its classes; ImageNet's if not given.
        threshold: the probability that a tag must exceed; in [0, 1). At most 20 tags of a picture are kept.
        weights: a state dict, as torch or safetensors save it; the published weights if not given.
        device: as torch names it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not hold weights of this model; the message lists the keys.

    Example:
        >>> import torch
        >>> from torchvision.models import get_model
        >>> network = get_model("shufflenet_v2_x0_5", weights=None, num_classes=2)
        >>> torch.save(network.state_dict(), "tagger.pth")
        >>> tagger = TorchvisionTagger("shufflenet_v2_x0_5", ["ant", "bee"], weights="tagger.pth", threshold=0.0)
        >>> tags = tagger([torch.zeros(3, 48, 64, dtype=torch.uint8)])[0]  # likeliest first
        >>> sorted(tag.label for tag in tags), tags[0].box
        (['ant', 'bee'], (0.0, 0.0, 64.0, 48.0))
    """

    def __init__(
        self,
        name: str,
        labels: Sequence[str] | None = None,
        *,
        threshold: float = 0.3,
        weights: str | None = None,
        device: str = "cpu",
    ) -> None:
        check_threshold(threshold)
        state, origin = chosen_weights(name, labels, weights, "ImageNet's")
        published = get_model_weights(name).DEFAULT
        shown = published.transforms()
        self.side, self.interpolation = shown.crop_size[0], shown.interpolation
        self.mean, self.std = list(shown.mean), list(shown.std)
        self.labels: Sequence[str] = list(labels or published.meta["categories"])
        model = get_model(name, weights=None, num_classes=len(self.labels))
        load_weights(model, state, origin, f"{name} with {len(self.labels)} classes")
        self.model, self.threshold, self.device = model.float().eval().to(device), threshold, device

    @torch.inference_mode()
    def __call__(self, images: list[Tensor]) -> list[list[Detection]]:
        side = [self.side, self.side]
        squares = [resize(image.float() / 255, side, self.interpolation, antialias=True) for image in images]
        logits: Tensor = self.model(normalize(torch.stack(squares).to(self.device), self.mean, self.std))
        scores, classes = logits.softmax(dim=1).topk(min(TAGS, len(self.labels)))
        return [
            [
                Detection(self.labels[label], (0.0, 0.0, float(image.shape[2]), float(image.shape[1])), score)
                for score, label in zip(found.tolist(), chosen.tolist(), strict=True)
                if score > self.threshold
            ]
            for image, found, chosen in zip(images, scores, classes, strict=True)
        ]
