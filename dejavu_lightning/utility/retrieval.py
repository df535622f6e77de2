"""Measure retrieval between pictures and captions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dejavu_lightning.core.sets import UtilitySets
from dejavu_lightning.embedding.embed import embed
from dejavu_lightning.embedding.encoders import EncodeSpec, ModuleEncoder
from dejavu_lightning.embedding.nearest.search import search
from dejavu_lightning.embedding.pairs import caption, captioned_image
from dejavu_lightning.utility.averages import Average, averages


class CaptionRetrieval:
    """Measure how often pictures find their captions, and captions their pictures, among all validation pairs.

    It logs ``image_to_text@k`` and ``text_to_image@k``, recalls in [0, 1].

    Args:
        ks: a pair counts as found if it is among so many nearest.
        image, text: as in :class:`~dejavu_lightning.memorization.ObjectRetrieval`.

    Raises:
        ValueError: a k is below 1, or there is none.

    Example:
        >>> CaptionRetrieval(ks=(1, 5)).metrics
        ['image_to_text@1', 'image_to_text@5', 'text_to_image@1', 'text_to_image@5']
    """

    name = "caption_retrieval"

    def __init__(
        self, ks: Sequence[int] = (1, 5, 10), image: EncodeSpec = "encode_image", text: EncodeSpec = "encode_text"
    ) -> None:
        if not ks or min(ks) < 1:
            raise ValueError(f"ks must be at least 1, got {list(ks)}")
        self.ks, self.image, self.text = list(ks), image, text

    @property
    def metrics(self) -> list[str]:
        """See :class:`~dejavu_lightning.utility.probe.PairMeasure`."""
        return [f"{name}@{k}" for name in ("image_to_text", "text_to_image") for k in sorted(set(self.ks))]

    def measure(
        self, encoder: ModuleEncoder, sets: UtilitySets, batch_size: int, num_workers: int
    ) -> dict[str, Average]:
        """``image_to_text@k`` and ``text_to_image@k``, recalls in [0, 1].

        Raises:
            ValueError: a k exceeds the validation set.
        """
        if max(self.ks) > len(sets.validation):
            raise ValueError(f"k={max(self.ks)} exceeds the validation set of {len(sets.validation)} pairs; lower ks")
        loading = (sets.validation, "validation", batch_size, num_workers)
        images = embed(encoder.using(self.image), *loading, captioned_image).directions_()
        texts = embed(encoder.using(self.text), *loading, caption).directions_()
        hits: dict[str, Tensor] = {}
        for name, queries, bank in (("image_to_text", images, texts), ("text_to_image", texts, images)):
            nearest = search(queries, bank, max(self.ks)).indices
            own = nearest[images.rows] == images.rows[:, None]
            hits |= {f"{name}@{k}": own[:, :k].any(dim=1) for k in sorted(set(self.ks))}
        return averages(images.rows, hits)


class NamedObjects:
    """Measure how often the pictures that a caption finds show what it names: the use of a search by text.

    It logs ``named_objects@k``, a share of the found pictures, in [0, 1].

    Args:
        k: pictures of the probes' training set that each validation caption finds.
        image, text: as in :class:`~dejavu_lightning.memorization.ObjectRetrieval`.

    Raises:
        ValueError: k is below 1.

    Example:
        >>> NamedObjects(k=10).metrics
        ['named_objects@10']
    """

    name = "named_objects"

    def __init__(self, k: int = 10, image: EncodeSpec = "encode_image", text: EncodeSpec = "encode_text") -> None:
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        self.k, self.image, self.text = k, image, text

    @property
    def metrics(self) -> list[str]:
        """See :class:`~dejavu_lightning.utility.probe.PairMeasure`."""
        return [f"named_objects@{self.k}"]

    def measure(
        self, encoder: ModuleEncoder, sets: UtilitySets, batch_size: int, num_workers: int
    ) -> dict[str, Average]:
        """``named_objects@k``: the share of found pictures with an object that the caption names, in [0, 1].

        Raises:
            ValueError: k exceeds the training set, or no caption names an object.
        """
        if self.k > len(sets.train):
            raise ValueError(f"k={self.k} exceeds the {len(sets.train)} pictures to search; lower k")
        bank = embed(encoder.using(self.image), sets.train, "train", batch_size, num_workers, captioned_image)
        asked = embed(encoder.using(self.text), sets.validation, "validation", batch_size, num_workers, caption)
        nearest = search(asked.directions_(), bank.directions_(), self.k).indices
        objects = [set(fact["objects"]) for fact in bank.facts]
        own = [row for row in asked.rows.tolist() if asked.facts[row]["named"]]
        hits = [
            sum(bool(objects[found] & set(asked.facts[row]["named"])) for found in nearest[row].tolist()) for row in own
        ]
        return averages(torch.tensor(own, dtype=torch.int64), {f"named_objects@{self.k}": torch.tensor(hits)}, self.k)
