"""The caption test of Jayaraman et al. (2024, arXiv 2402.02103, section 3): what does a caption bring back?

Caption -> text embedding -> k nearest public images (t2i) or captions (t2t) -> their objects, compared
with the objects of the caption's own training image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import pyarrow as pa
import torch
from torch import Tensor

from dejavu_lightning.core.records import Records
from dejavu_lightning.core.samples import Samples, without_images
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.embed import check_not_collapsed, embed
from dejavu_lightning.embedding.encoders import Encoder, EncodeSpec
from dejavu_lightning.embedding.nearest.search import search
from dejavu_lightning.embedding.pairs import caption, captioned_image, check_parts, encoder_part
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.object_retrieval.display import DISPLAY
from dejavu_lightning.memorization.object_retrieval.metrics import compare_objects
from dejavu_lightning.memorization.object_retrieval.records import object_scores
from dejavu_lightning.memorization.object_retrieval.sample_level import TOP, check_top
from dejavu_lightning.memorization.protocols import Attack, Comparison

SHOWN_NEIGHBORS = 5


class ObjectRetrieval:
    """Retrieve the objects of a training image by its caption.

    The test of Jayaraman et al. (2024, arXiv 2402.02103, section 3). Its headline is ``ppg``, in [-1, 1]. Records whose
    image has no (unnamed) object cannot be scored; they are left out and counted.

    Args:
        direction: "t2i" looks the caption up among public images, "t2t" among public captions.
        k: neighbours of the numbers with plain names: ``ppg``, ``target_recall``, ...
        ks: neighbours of further numbers: ``ppg@1``, ...; all come from one search.
        top_n: instead of all objects of the neighbours, predict so many of the most frequent: ``ppg@10/top1``, ...
        unnamed_only: leave out of the truth and the predictions the objects that the caption names.
        image, text: how images, and captions as a list of strings, become embeddings: a dotted attribute path
            of the module, or a function (module, inputs) -> embeddings. An encoder that is no module must have
            methods ``encode_image`` and ``encode_text``.
        batch_size: samples the encoder sees at once.
        num_workers: processes that decode pictures.
        top: of how many records the gaps are also given that memorize most, counts from 1 or shares below 1, see
            :func:`~dejavu_lightning.memorization.sample_gaps`.

    Raises:
        ValueError: ``direction`` is neither, or a number is below 1; one of ``top`` is neither a count nor a share.

    Example:
        >>> test = ObjectRetrieval(k=2, ks=(1,), top_n=(1,))
        >>> test.variants()  # suffix of the numbers -> neighbours, objects predicted
        {'': (2, None), '@1': (1, None), '@1/top1': (1, 1), '@2/top1': (2, 1)}
    """

    name: ClassVar[str] = "object_retrieval"
    headline: ClassVar[str] = "ppg"
    display: ClassVar[Display] = DISPLAY

    def __init__(
        self,
        direction: Literal["t2i", "t2t"] = "t2i",
        k: int = 10,
        ks: Sequence[int] = (1, 10, 100),
        top_n: Sequence[int] = (1, 10),
        unnamed_only: bool = False,
        image: EncodeSpec = "encode_image",
        text: EncodeSpec = "encode_text",
        batch_size: int = 250,
        num_workers: int = 0,
        top: Sequence[float] = TOP,
    ) -> None:
        if direction not in ("t2i", "t2t"):
            raise ValueError(f"direction must be 't2i' or 't2t', got {direction!r}")
        if min([k, batch_size, *ks, *top_n]) < 1:
            raise ValueError(
                f"k, ks, top_n and batch_size must be at least 1, got k={k}, ks={list(ks)}, top_n={list(top_n)}, "
                f"batch_size={batch_size}"
            )
        check_top(top)
        self.top = list(top)
        self.direction, self.k, self.ks, self.top_n = direction, k, list(ks), list(top_n)
        self.unnamed_only, self.image, self.text = unnamed_only, image, text
        self.batch_size, self.num_workers = batch_size, num_workers

    def check(self, encoder: Encoder) -> None:
        """Raise now what encoding would raise later."""
        check_parts(encoder, self.encode_text(encoder), self.encode_bank(encoder))

    def prepare(self, encoder: Encoder, sets: MemorizationSets) -> Attack:
        """Embed the public set once, ready to attack any number of datasets.

        Raises:
            ValueError: k or one of ks exceeds the public set, or an object lies outside the vocabulary.
        """
        return RetrievalAttack(self, encoder, sets)

    @staticmethod
    def compare(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
        """See :func:`~dejavu_lightning.memorization.object_retrieval.metrics.compare_objects`."""
        return compare_objects(target, reference, paired, seed)

    def by_captions(self, batch_size: int) -> ObjectRetrieval:
        """Make the same test with captions looked up among public captions, so many encoded at once."""
        return ObjectRetrieval(
            "t2t",
            self.k,
            self.ks,
            self.top_n,
            self.unnamed_only,
            self.image,
            self.text,
            batch_size,
            self.num_workers,
            self.top,
        )

    def encode_text(self, encoder: Encoder) -> Encoder:
        """Captions to embeddings."""
        return encoder_part(encoder, self.text, "encode_text")

    def encode_bank(self, encoder: Encoder) -> Encoder:
        """What is public to embeddings."""
        return (
            self.encode_text(encoder) if self.direction == "t2t" else encoder_part(encoder, self.image, "encode_image")
        )

    def variants(self) -> dict[str, tuple[int, int | None]]:
        """Suffix of the numbers -> (neighbours, objects predicted; None for all)."""
        found: dict[str, tuple[int, int | None]] = {"": (self.k, None)}
        for k in sorted({self.k, *self.ks}):
            if k != self.k:
                found[f"@{k}"] = (k, None)
            found |= {f"@{k}/top{n}": (k, n) for n in sorted(set(self.top_n))}
        return found


class RetrievalAttack:
    """An :class:`ObjectRetrieval` bound to one encoder and its bank of public embeddings."""

    def __init__(self, test: ObjectRetrieval, encoder: Encoder, sets: MemorizationSets) -> None:
        self.test, self.encoder, self.sets = test, encoder, sets
        largest, public = max(test.k, *test.ks), len(sets.public)
        if largest > public:
            raise ValueError(
                f"k={largest} exceeds the public set of {public} samples; lower k and ks or add public samples"
            )
        images = test.direction == "t2i"
        bank = embed(
            test.encode_bank(encoder),
            sets.public if images else without_images(sets.public),
            "public",
            test.batch_size,
            test.num_workers,
            captioned_image if images else caption,
        )
        check_not_collapsed(bank, "public")
        self.bank = bank.directions_()
        self.objects = _padded(
            [self._checked(fact, "objects", i, "public") for fact, i in zip(bank.facts, bank.ids, strict=True)]
        )

    def on(self, encoder: Encoder, sets: MemorizationSets) -> RetrievalAttack:
        """Prepare the same attack on another model."""
        return RetrievalAttack(self.test, encoder, sets)

    def __call__(self, dataset: Samples, role: str) -> Records:
        """Attack every record of a dataset; ``role`` is what errors call it."""
        test = self.test
        encode = test.encode_text(self.encoder)
        queries = embed(encode, without_images(dataset), role, test.batch_size, test.num_workers, caption)
        check_not_collapsed(queries, role)
        neighbors = search(queries.directions_(), self.bank, max(test.k, *test.ks), role)
        truth = [self._checked(fact, "objects", i, role) for fact, i in zip(queries.facts, queries.ids, strict=True)]
        named = [self._checked(fact, "named", i, role) for fact, i in zip(queries.facts, queries.ids, strict=True)]
        left_out = named if test.unnamed_only else [[] for _ in named]
        scored = [row for row, (own, out) in enumerate(zip(truth, left_out, strict=True)) if set(own) - set(out)]
        if not scored:
            raise ValueError(
                f"none of the {len(truth)} records of the {role} set has an object"
                + (" that its caption does not name; set unnamed_only=False" if test.unnamed_only else "")
            )
        indices = neighbors.indices[scored]
        found = object_scores(
            indices,
            self.objects,
            _padded([truth[row] for row in scored]),
            _padded([left_out[row] for row in scored]),
            self.sets.num_classes,
            test.variants(),
        )
        shown = indices[:, :SHOWN_NEIGHBORS].numpy().tolist()
        table = pa.table(
            {
                "id": [queries.ids[row] for row in scored],
                "objects": _lists([truth[row] for row in scored]),
                **self._scored([truth[row] for row in scored], [left_out[row] for row in scored]),
                "min_distance": neighbors.distances[scored, 0].sqrt().numpy(),
                **found,
                "neighbors": [[self.bank.ids[index] for index in row] for row in shown],
            }
        )
        return Records(table, self.settings)

    def _scored(self, truth: list[list[int]], left_out: list[list[int]]) -> dict[str, pa.Array]:
        """The column of the objects that are asked for, where these are not all."""
        if not self.test.unnamed_only:
            return {}
        return {"scored": _lists([sorted(set(own) - set(out)) for own, out in zip(truth, left_out, strict=True)])}

    @property
    def settings(self) -> dict[str, Any]:
        """What the records depend on besides the model."""
        test = self.test
        return {
            "test": test.name,
            "direction": test.direction,
            "k": test.k,
            "ks": sorted({test.k, *test.ks}),
            "top_n": sorted(set(test.top_n)),
            "unnamed_only": test.unnamed_only,
            "top": test.top,
            "public": len(self.bank.ids),
            "objects": self.sets.num_classes,
        }

    def _checked(self, fact: Mapping[str, Sequence[int]], kind: str, identifier: str, role: str) -> list[int]:
        if "objects" not in fact:
            raise TypeError(
                f"sample {identifier!r} of the {role} set has no 'objects', which object retrieval asks for"
            )
        objects = sorted(set(fact.get(kind, ())))
        if objects and not (0 <= objects[0] and objects[-1] < self.sets.num_classes):
            raise ValueError(
                f"{kind} {objects} of {identifier!r} ({role} set) lie outside [0, {self.sets.num_classes}), the "
                "vocabulary of num_classes"
            )
        return objects


def _lists(objects: list[list[int]]) -> pa.Array:
    return pa.array(objects, pa.list_(pa.int64()))


def _padded(objects: Sequence[Sequence[int]]) -> Tensor:
    """Lists of objects as (N, O) int64, -1 in the places that are left."""
    counts = torch.tensor([len(row) for row in objects])
    padded = torch.full((len(objects), max(1, int(counts.max()))), -1)
    flat = torch.tensor([o for row in objects for o in row], dtype=torch.int64)
    padded[torch.arange(padded.shape[1]) < counts[:, None]] = flat
    return padded
