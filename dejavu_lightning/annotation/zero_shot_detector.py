"""Zero-shot detectors of transformers: OWL-ViT, OWLv2, Grounding DINO and others with their interface."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from dejavu_lightning.annotation.detection import Detection, check_threshold, detect_by_size, detections

OWL = ("owlvit", "owlv2")
GROUNDING_DINO = ("grounding-dino", "mm-grounding-dino")


class ZeroShotDetector:
    """A model of transformers' ``AutoModelForZeroShotObjectDetection``.

    Grounding DINO names objects with any run of words of its prompt. Here a label's score is the highest of
    its tokens and an object has the label of the highest score, so labels are always those asked for.

    Args:
        name: a folder or ``owner/name`` on the hub.
        labels: what to look for; each once.
        threshold: objects with higher scores are kept; in [0, 1).
        prompt: how to ask for a label, with {} in its place, such as "a photo of a {}".
        device: as torch names it.

    Raises:
        ImportError: transformers is not installed.
        ValueError: there is no such model, it lacks weights, or labels do not suit it.

    Example:
        The model is downloaded once.

        .. code-block:: python

            detector = ZeroShotDetector("google/owlv2-base-patch16", ["cat", "dog"], prompt="a photo of a {}")
            objects = detector([image])[0]  # of a picture, uint8 (3, H, W): labels, boxes in pixels and scores
    """

    def __init__(
        self,
        name: str,
        labels: Sequence[str],
        *,
        threshold: float = 0.3,
        prompt: str = "{}",
        device: str = "cpu",
    ) -> None:
        check_threshold(threshold)
        repeated = sorted({label for label in labels if list(labels).count(label) > 1})
        if not labels or repeated or not all(label.strip() for label in labels):
            raise ValueError(f"labels must be distinct and not empty; got {len(labels)}, repeated: {repeated}")
        if "{}" not in prompt:
            raise ValueError(f"prompt must contain {{}} where the label goes, got {prompt!r}")
        self.labels: Sequence[str] = list(labels)
        self.name, self.threshold, self.device = name, threshold, device
        self.processor, self.model = _load(name)
        self.model = self.model.float().eval().to(device)
        self.kind: str = self.model.config.model_type
        prompts = [prompt.replace("{}", label) for label in labels]
        if self.kind in OWL:
            self._check_lengths(prompts, self.model.config.text_config.max_position_embeddings)
        if self.kind in GROUNDING_DINO:
            self.text, self.tokens = self._joined(prompts)
        self.prompts = prompts
        self.queries: Tensor | None = None  # (1, L, D), made with the first batch

    @torch.inference_mode()
    def __call__(self, images: list[Tensor]) -> list[list[Detection]]:
        if self.kind in OWL:
            return self._owl(images)
        return detect_by_size(images, self._grounded if self.kind in GROUNDING_DINO else self._any)

    def _owl(self, images: list[Tensor]) -> list[list[Detection]]:
        if self.queries is None:
            # The model itself would encode all labels again for each picture.
            inputs = self._inputs(images[:1], [self.prompts])
            self.queries = self.model(**inputs).text_embeds
        pixels = self.processor.image_processor(
            images, return_tensors="pt", input_data_format="channels_first"
        ).pixel_values.to(self.device)
        grid = self.model.image_embedder(pixels)[0]  # (B, h, w, D)
        features = grid.flatten(1, 2)
        logits = self.model.class_predictor(features, self.queries.expand(len(images), -1, -1))[0]
        outputs = SimpleNamespace(logits=logits, pred_boxes=self.model.box_predictor(features, grid))
        return self._processed(outputs, images)

    def _any(self, images: list[Tensor]) -> list[list[Detection]]:
        return self._processed(self.model(**self._inputs(images, [self.prompts] * len(images))), images)

    def _processed(self, outputs: Any, images: list[Tensor]) -> list[list[Detection]]:
        found = self.processor.post_process_grounded_object_detection(
            outputs,
            threshold=self.threshold,
            target_sizes=[(image.shape[1], image.shape[2]) for image in images],
            text_labels=[self.prompts] * len(images),
        )
        label_of = dict(zip(self.prompts, self.labels, strict=True))
        return [
            detections([label_of[prompt] for prompt in one["text_labels"]], one["boxes"], one["scores"])
            for one in found
        ]

    def _grounded(self, images: list[Tensor]) -> list[list[Detection]]:
        outputs = self.model(**self._inputs(images, [self.text] * len(images)))
        by_token = outputs.logits.sigmoid()  # (B, Q, T), Q boxes
        by_label = torch.stack([by_token[..., tokens].amax(-1) for tokens in self.tokens], dim=-1)  # (B, Q, L)
        scores, labels = by_label.max(-1)
        centers, sides = outputs.pred_boxes.split(2, dim=-1)  # in [0, 1] of the picture
        corners = torch.cat([centers - sides / 2, centers + sides / 2], dim=-1)
        height, width = images[0].shape[1:]
        corners = corners * torch.tensor([width, height, width, height], device=self.device)
        return [
            detections([self.labels[label] for label in labels[i][keep].tolist()], corners[i][keep], scores[i][keep])
            for i, keep in enumerate(scores > self.threshold)
        ]

    def _inputs(self, images: list[Tensor], text: Any) -> Any:
        inputs = self.processor(images=images, text=text, return_tensors="pt", input_data_format="channels_first")
        return inputs.to(self.device)

    def _joined(self, prompts: list[str]) -> tuple[str, list[list[int]]]:
        """Grounding DINO's one prompt, and the positions of each label's tokens in it."""
        dotted = [prompt for prompt in prompts if "." in prompt]
        if dotted:
            raise ValueError(f"{self.name}: a dot separates labels, so none may contain one: {dotted}")
        prompts = [prompt.strip().lower() for prompt in prompts]
        text = ". ".join(prompts) + "."
        encoded = self.processor.tokenizer(text, return_offsets_mapping=True)
        limit = self.model.config.max_text_len
        if len(encoded["input_ids"]) > limit:
            raise ValueError(
                f"{self.name}: {len(prompts)} labels make {len(encoded['input_ids'])} tokens, it reads {limit}; "
                "give fewer labels, and run once for each part of them"
            )
        spans, start = [], 0
        for prompt in prompts:
            end = start + len(prompt)
            spans.append([i for i, (a, b) in enumerate(encoded["offset_mapping"]) if start <= a < b <= end])
            start = end + 2
        return text, spans

    def _check_lengths(self, prompts: list[str], limit: int) -> None:
        long = [prompt for prompt in prompts if len(self.processor.tokenizer(prompt)["input_ids"]) > limit]
        if long:
            raise ValueError(f"{self.name}: its text encoder reads {limit} tokens a label, these are longer: {long}")


def _load(name: str) -> tuple[Any, Any]:
    try:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor
    except ImportError as error:
        raise ImportError(
            f'the detector {name!r} needs transformers: pip install "dejavu-lightning[annotate]"'
        ) from error
    try:
        processors: Any = AutoProcessor
        models: Any = AutoModelForZeroShotObjectDetection
        processor = processors.from_pretrained(name)
        model, info = models.from_pretrained(name, output_loading_info=True)
    except (OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{name!r} cannot be loaded as a zero-shot detector of transformers: {reason}") from error
    # transformers fills these with random numbers. Weights that it has no use for it leaves aside.
    absent = sorted(str(key) for kind in ("missing_keys", "mismatched_keys") for key in info[kind])
    if absent:
        raise ValueError(f"{name!r} lacks weights of its {type(model).__name__}: {', '.join(absent)}")
    return processor, model
