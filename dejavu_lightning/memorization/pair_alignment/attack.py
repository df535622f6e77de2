"""CLIPMem (Wang et al. 2025, arXiv 2502.07830): how near a model puts a picture and its caption.

With s the cosine of the embeddings of a picture and a caption, I' training views of the picture I, and t, i captions
and pictures of a sample that neither model was trained on::

    a(I, T) = mean over I' of [ s(I', T) - mean over t of s(I', t) - mean over i of s(i, T) ]
    m(I, T) = a_target(I, T) - a_reference(I, T)      positive where the target has seen the pair in training

The cosine is linear in each embedding of length 1, so means of embeddings give means of cosines.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from dejavu_lightning.core.distributed import joined_rows, world
from dejavu_lightning.core.records import Records
from dejavu_lightning.core.samples import Samples, Subsample, without_images
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.embed import ROWS_AT_ONCE, Embedded, check_not_collapsed, embed
from dejavu_lightning.embedding.encoders import Encoder, EncodeSpec
from dejavu_lightning.embedding.pairs import caption, captioned_image, check_parts, encoder_part
from dejavu_lightning.embedding.view_stacks import Augment, check_views, embed_views
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.pair_alignment.display import DISPLAY
from dejavu_lightning.memorization.pair_alignment.metrics import compare_pairs
from dejavu_lightning.memorization.protocols import Attack, Comparison


class PairAlignment:
    """Measure the cosine between a picture and its caption beyond that of unrelated ones, in target and reference.

    Args:
        views: training views of each picture; the same ones for both models.
        contrast: size of the sample of records of neither split, whose captions and pictures are the unrelated ones;
            all of them where there are fewer.
        image, text: how images, and captions as a list of strings, become embeddings, as in ``ObjectRetrieval``.
        augment: a function picture -> view, for data sets without a method ``views(position, count)``.
        seed: of the views and of the sample.
        batch_size: samples the encoder sees at once.
        num_workers: processes that decode pictures.

    Raises:
        ValueError: ``views``, ``contrast`` or ``batch_size`` is below 1.

    Example:
        >>> test = PairAlignment(views=4, contrast=100, image="encode_image", text="encode_text")
        >>> test.name, test.headline
        ('pair_alignment', 'clipmem')
    """

    name: ClassVar[str] = "pair_alignment"
    headline: ClassVar[str] = "clipmem"
    display: ClassVar[Display] = DISPLAY

    def __init__(
        self,
        views: int = 10,
        contrast: int = 1000,
        image: EncodeSpec = "encode_image",
        text: EncodeSpec = "encode_text",
        augment: Augment | None = None,
        seed: int = 0,
        batch_size: int = 250,
        num_workers: int = 0,
    ) -> None:
        if min(views, contrast, batch_size) < 1:
            raise ValueError(
                f"views, contrast and batch_size must be at least 1, got views={views}, contrast={contrast}, "
                f"batch_size={batch_size}"
            )
        self.views, self.contrast, self.augment, self.seed = views, contrast, augment, seed
        self.image, self.text = image, text
        self.batch_size, self.num_workers = batch_size, num_workers

    def check(self, encoder: Encoder) -> None:
        """Raise now what encoding would raise later."""
        check_parts(encoder, self.encode_image(encoder), self.encode_text(encoder))

    def prepare(self, encoder: Encoder, sets: MemorizationSets) -> Attack:
        """Embed the unrelated captions and pictures, ready to attack any number of datasets.

        Raises:
            TypeError: no views of the attacked pictures can be drawn.
            ValueError: there are no records of neither split.
        """
        check_views(sets.attack, self.augment, "attack")
        return PairAttack(self, encoder, sets)

    def encode_image(self, encoder: Encoder) -> Encoder:
        """Pictures to embeddings."""
        return encoder_part(encoder, self.image, "encode_image")

    def encode_text(self, encoder: Encoder) -> Encoder:
        """Captions to embeddings."""
        return encoder_part(encoder, self.text, "encode_text")

    @staticmethod
    def compare(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
        """See :func:`~dejavu_lightning.memorization.pair_alignment.metrics.compare_pairs`."""
        return compare_pairs(target, reference, paired, seed)


class PairAttack:
    """A :class:`PairAlignment` bound to one encoder and the mean embeddings of unrelated pictures and captions."""

    def __init__(self, test: PairAlignment, encoder: Encoder, sets: MemorizationSets) -> None:
        self.test, self.encoder, self.sets = test, encoder, sets
        if sets.neither_split is None:
            raise ValueError(
                "PairAlignment needs 'neither_split' among the memorization sets: captions and pictures that no model "
                "was trained on; keep some with the datamodule's held-out part"
            )
        sample = _sample(sets.neither_split, test.contrast, test.seed)
        loading = ("neither_split", test.batch_size, test.num_workers)
        images = embed(test.encode_image(encoder), sample, *loading, captioned_image)
        texts = embed(test.encode_text(encoder), without_images(sample), *loading, caption)
        check_not_collapsed(images, "neither_split")
        check_not_collapsed(texts, "neither_split")
        self.contrast = len(sample)
        self._mean_image = images.directions_().gather().double().mean(dim=0)
        self._mean_text = texts.directions_().gather().double().mean(dim=0)

    @property
    def settings(self) -> dict[str, Any]:
        """What the records depend on besides the model."""
        test = self.test
        return {"test": test.name, "views": test.views, "view_seed": test.seed, "contrast": self.contrast}

    def on(self, encoder: Encoder, sets: MemorizationSets) -> PairAttack:
        """Prepare the same attack on another model."""
        return PairAttack(self.test, encoder, sets)

    def __call__(self, dataset: Samples, role: str) -> Records:
        """Measure the alignment of every record of a dataset; ``role`` is what errors call it."""
        test = self.test
        images = embed_views(
            test.encode_image(self.encoder),
            _mean_direction,
            dataset,
            role,
            views=test.views,
            seed=test.seed,
            augment=test.augment,
            batch_size=test.batch_size,
            num_workers=test.num_workers,
        )
        captions = without_images(dataset)
        texts = embed(test.encode_text(self.encoder), captions, role, test.batch_size, test.num_workers, caption)
        check_not_collapsed(images, role)
        check_not_collapsed(texts, role)
        texts = texts.directions_()
        width = len(self._mean_text)
        image, text = (_own_embeddings(one, width).double() for one in (images, texts))
        own_text = _embeddings_at(images.rows, texts, width).double()
        # Row by row: a product of a matrix may round its last rows by how many there are.
        beyond_texts = (image * own_text).sum(dim=1) - (image * self._mean_text).sum(dim=1)
        alignment = _in_order(beyond_texts, images) - _in_order((text * self._mean_image).sum(dim=1), texts)
        return Records(pa.table({"id": texts.ids, "alignment": alignment.numpy()}), self.settings)


def _mean_direction(embeddings: Tensor) -> Tensor:
    """Mean of the views' embeddings of length 1, the picture's own left out: (B, 1 + views, D) -> (B, D)."""
    return nn.functional.normalize(embeddings[:, 1:], dim=2).mean(dim=1)


def _own_embeddings(found: Embedded, width: int) -> Tensor:
    """(n, width) on the CPU, also of a process without samples, which knows no width."""
    return (found.embeddings if len(found.rows) else found.embeddings.new_empty(0, width)).cpu()


def _embeddings_at(rows: Tensor, found: Embedded, width: int) -> Tensor:
    """Embeddings of these rows, whichever process has them: (n, width), on the CPU; a block at a time crosses."""
    own = _own_embeddings(found, width)
    place = torch.full((len(found.ids),), -1)
    place[rows] = torch.arange(len(rows))
    taken = own.new_empty(len(rows), width)
    step = -(-ROWS_AT_ONCE // world()[1])
    for start in range(0, int(joined_rows(torch.tensor([len(own)])).max()), step):
        given, at = (joined_rows(part[start : start + step]) for part in (own, found.rows))
        wanted = place[at] >= 0
        taken[place[at[wanted]]] = given[wanted]
    return taken


def _in_order(values: Tensor, found: Embedded) -> Tensor:
    """Numbers of the samples that each process holds, in the order of the data set: (n,) -> (N,)."""
    return joined_rows(values)[joined_rows(found.rows).argsort()]


def _sample(dataset: Samples, count: int, seed: int) -> Samples:
    if count >= len(dataset):
        return dataset
    positions = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:count])
    return Subsample(dataset, positions)
