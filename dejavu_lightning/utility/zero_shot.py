"""Zero-shot classification: pictures find the name of what they show (Radford et al. 2021, arXiv 2103.00020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dejavu_lightning.core.progress.long_work import Advance, long_work
from dejavu_lightning.core.sets import UtilitySets
from dejavu_lightning.embedding.embed import Reading, embed
from dejavu_lightning.embedding.encoders import Encoder, EncodeSpec, ModuleEncoder
from dejavu_lightning.embedding.host_samples import class_number, image_tensor
from dejavu_lightning.utility.averages import Average, averages

TOPS = (1, 5)
TEMPLATES = {"openai": "OPENAI_IMAGENET_TEMPLATES", "simple": "SIMPLE_IMAGENET_TEMPLATES"}  # as open_clip names them


class ZeroShot:
    """Classify pictures by the nearest class name, by open_clip's classifier builder.

    A class's vector is the mean of the unit vectors of its name in every template (Radford et al. 2021, arXiv
    2103.00020, section 3.1). A picture with several ``objects`` is right if the class is one of them, others if it is
    their ``label``. It logs ``zero_shot_top1`` and ``zero_shot_top5``, in [0, 1].

    Args:
        templates: "openai" (80), "simple" (7), or a list of texts with {} in the place of the name.
        class_names: in the order of the classes; the data's own if not given.
        image, text: as in :class:`~dejavu_lightning.memorization.ObjectRetrieval`.

    Raises:
        ValueError: there are no such templates, or one has no {}.

    Example:
        >>> len(ZeroShot("simple").templates), ZeroShot(["a photo of a {}."], class_names=["cat", "dog"]).metrics
        (7, ['zero_shot_top1', 'zero_shot_top5'])
    """

    name = "zero_shot"

    def __init__(
        self,
        templates: Literal["openai", "simple"] | list[str] = "openai",
        class_names: Sequence[str] | None = None,
        image: EncodeSpec = "encode_image",
        text: EncodeSpec = "encode_text",
    ) -> None:
        import open_clip  # here, since it takes seconds, and other measures do without

        if isinstance(templates, str) and templates not in TEMPLATES:
            raise ValueError(f"templates must be one of {list(TEMPLATES)} or a list of texts, got {templates!r}")
        if not isinstance(templates, str) and (not templates or any("{}" not in text for text in templates)):
            raise ValueError(f"every template must hold {{}} in the place of the name, got {templates}")
        self.templates: Sequence[Any] = (
            getattr(open_clip, TEMPLATES[templates]) if isinstance(templates, str) else templates
        )
        self.class_names, self.image, self.text = class_names, image, text

    @property
    def metrics(self) -> list[str]:
        """See :class:`~dejavu_lightning.utility.probe.PairMeasure`."""
        return [f"zero_shot_top{top}" for top in TOPS]

    def measure(
        self, encoder: ModuleEncoder, sets: UtilitySets, batch_size: int, num_workers: int
    ) -> dict[str, Average]:
        """``zero_shot_top1`` and ``zero_shot_top5`` on the validation pictures, in [0, 1].

        Raises:
            ValueError: there are no class names, or not one per class.
        """
        names = self.class_names or sets.class_names
        if names is None or len(names) != sets.num_classes:
            given = "no class names" if names is None else f"{len(names)} class names"
            raise ValueError(
                f"zero-shot classification needs a name for each of {sets.num_classes} classes, got {given}"
            )
        found = embed(encoder.using(self.image), sets.validation, "validation", batch_size, num_workers, _pictured)
        weights = class_vectors(encoder.using(self.text), names, self.templates)  # D, C
        images = nn.functional.normalize(found.embeddings.reshape(-1, len(weights)), dim=1)
        best = (images @ weights.to(images)).argsort(dim=1, descending=True, stable=True)[:, :5]
        asked = [
            (row, classes) for row, classes in zip(found.rows.tolist(), best.tolist(), strict=True) if found.facts[row]
        ]
        hits = torch.tensor([[c in found.facts[row] for c in classes] for row, classes in asked], dtype=torch.bool)
        hits = hits.reshape(-1, best.shape[1])
        rows = torch.tensor([row for row, _ in asked], dtype=torch.int64)
        return averages(rows, {f"zero_shot_top{top}": hits[:, :top].any(dim=1) for top in TOPS})


def class_vectors(encode_text: Encoder, class_names: Sequence[str], templates: Sequence[Any]) -> Tensor:
    """Unit vectors (D, C) of the classes, in their order.

    Args:
        encode_text: captions to embeddings.
        class_names: C names.
        templates: texts with {} in the place of the name, or functions from the name to a text.
    """
    import open_clip

    with long_work("embedding class names", len(class_names) * len(templates), "text") as advance:
        vectors: Tensor = open_clip.build_zero_shot_classifier(
            _Texts(encode_text, advance), _AsTheyAre, list(class_names), templates, num_classes_per_batch=10
        )
    return vectors.float()


class _Texts:
    """An encoder of captions in the form of open_clip's models."""

    def __init__(self, encode_text: Encoder, advance: Advance) -> None:
        self._encode, self._advance = encode_text, advance

    def encode_text(self, texts: Sequence[str], normalize: bool) -> Tensor:
        vectors = nn.functional.normalize(self._encode(list(texts)), dim=1)
        self._advance(len(texts))
        return vectors


class _AsTheyAre(list[str]):
    """A tokenizer that leaves the texts to the encoder."""

    def to(self, device: Any) -> _AsTheyAre:
        return self


def _pictured(sample: Any, row: int, role: str) -> Reading:
    """An image and the classes that are right for it."""
    if isinstance(sample, Mapping):
        shown = sample.get("objects", [sample["label"]] if "label" in sample else [])
        return Reading(
            image_tensor(sample["image"], row, role), [int(c) for c in shown], str(sample.get("id", f"{role}/{row}"))
        )
    return Reading(image_tensor(sample[0], row, role), [class_number(sample[1], row, role)], f"{role}/{row}")
