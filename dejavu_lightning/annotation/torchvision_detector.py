"""Torchvision's detectors, for COCO's classes or those of weights of one's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models import detection, get_model, get_model_weights, list_models

from dejavu_lightning.annotation.detection import Detection, check_threshold, detect_by_size, detections
from dejavu_lightning.annotation.torchvision_weights import chosen_weights, load_weights

DETECTORS: list[str] = list_models(module=detection)
NOT_CLASSES = ("__background__", "no person", "N/A")  # N/A: numbers that COCO left unused


class TorchvisionDetector:
    """A detection model of torchvision.

    The model's own threshold is replaced, so a low one does find more; how many objects of a picture it
    keeps at most (100 to 300) remains the model's.

    Args:
        name: such as "fasterrcnn_resnet50_fpn_v2".
        labels: with ``weights``, the names of its classes from 1 on, 0 being the background; COCO's if not given.
        threshold: objects with higher scores are kept; in [0, 1).
        weights: a state dict, as torch or safetensors save it; the published weights if not given.
        device: as torch names it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not hold weights of this model; the message lists the keys.

    Example:
        The published weights are downloaded once.

        .. code-block:: python

            detector = TorchvisionDetector("fasterrcnn_resnet50_fpn_v2", threshold=0.5)
            objects = detector([image])[0]  # of a picture, uint8 (3, H, W): labels, boxes in pixels and scores
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
        state, origin = chosen_weights(name, labels, weights, "COCO's")
        categories: list[str] = list(get_model_weights(name).DEFAULT.meta["categories"])
        if labels is not None:
            categories = ["__background__", *labels]
        model = get_model(name, weights=None, weights_backbone=None, num_classes=len(categories))
        load_weights(model, state, origin, f"{name} with {len(categories) - 1} classes")
        scored = getattr(model, "roi_heads", model)
        scored.score_thresh = threshold
        self.model = model.float().eval().to(device)
        self.categories, self.device = categories, device
        self.labels: Sequence[str] = [label for label in categories if label not in NOT_CLASSES]

    @torch.inference_mode()
    def __call__(self, images: list[Tensor]) -> list[list[Detection]]:
        return detect_by_size(images, self._detect)

    def _detect(self, images: list[Tensor]) -> list[list[Detection]]:
        found = self.model([image.to(self.device).float() / 255 for image in images])
        named = [
            detections([self.categories[label] for label in one["labels"].tolist()], one["boxes"], one["scores"])
            for one in found
        ]
        return [[detected for detected in one if detected.label not in NOT_CLASSES] for one in named]
