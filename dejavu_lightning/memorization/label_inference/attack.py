"""The image test of Meehan et al. (2023, arXiv 2304.13850, section 4): does a background give the label away?

Background crop -> embedding -> k nearest public images -> majority label.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from dejavu_lightning.core.records import Records
from dejavu_lightning.core.samples import Samples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.embed import check_not_collapsed, embed
from dejavu_lightning.embedding.encoders import Encoder, ModuleEncoder
from dejavu_lightning.embedding.search import search
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.label_inference.display import DISPLAY
from dejavu_lightning.memorization.label_inference.metrics import compare_labels
from dejavu_lightning.memorization.label_inference.records import label_records, records_of_probabilities
from dejavu_lightning.memorization.protocols import Attack, Comparison
from dejavu_lightning.metrics.functional import label_votes, rank_labels, vote_confidence

SHOWN_NEIGHBORS = 5
PAPER_K = 100  # Meehan et al., section 4
ROWS_AT_ONCE = 4096  # bounds the (rows, classes) table of votes


class LabelInference:
    """Infer the label of each background crop from its k nearest public images.

    The test of Meehan et al. (2023, arXiv 2304.13850, section 4). Its headline is ``score``, the target's accuracy less
    the reference's, in [-1, 1].

    Args:
        k: neighbours that vote, unweighted; at most the size of the public set. A tenth of it, but no more than the
            paper's 100, if not given.
        batch_size: pictures the encoder sees at once; the numbers do not depend on how many processes
            share the work, but may change in the last digit with this size.
        num_workers: processes that decode pictures.

    Raises:
        ValueError: k or batch_size is below 1.

    Example:
        >>> from torch import tensor
        >>> from dejavu_lightning.memorization import MemorizationSets
        >>> crops, public = [(tensor([0.1]), 0), (tensor([0.4]), 1)], [(tensor([0.0]), 0), (tensor([1.0]), 1)]
        >>> attack = LabelInference(k=1).prepare(lambda x: x, MemorizationSets(crops, public, num_classes=2))
        >>> attack(crops, "attack").column("predicted")  # of the nearest public image
        tensor([0, 0])
    """

    name: ClassVar[str] = "label_inference"
    headline: ClassVar[str] = "score"
    display: ClassVar[Display] = DISPLAY

    def __init__(self, k: int | None = None, batch_size: int = 250, num_workers: int = 0) -> None:
        if (k is not None and k < 1) or batch_size < 1:
            raise ValueError(f"k and batch_size must be at least 1, got k={k}, batch_size={batch_size}")
        self.k, self.batch_size, self.num_workers = k, batch_size, num_workers

    def check(self, encoder: Encoder) -> None:
        """Raise now what encoding would raise later."""
        if isinstance(encoder, ModuleEncoder):
            encoder.resolve()

    def prepare(self, encoder: Encoder, sets: MemorizationSets) -> Attack:
        """Embed the public set once, ready to attack any number of datasets.

        Raises:
            ValueError: k exceeds the public set, or a label lies outside the class range.
        """
        return LabelAttack(self, encoder, sets)

    @staticmethod
    def compare(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
        """See :func:`~dejavu_lightning.memorization.label_inference.metrics.compare_labels`."""
        return compare_labels(target, reference, paired, seed)

    def records_of_probabilities(
        self, ids: list[str], labels: Tensor, probabilities: Iterable[Tensor], reference: str
    ) -> Records:
        """Make records of what a reference infers: probabilities (N, C) in parts, ``reference`` says whose."""
        return records_of_probabilities(ids, labels, probabilities, {"test": self.name, "reference": reference})


class LabelAttack:
    """A :class:`LabelInference` bound to one encoder and its bank of public embeddings.

    With several processes each holds the share of the bank that it embedded.
    """

    def __init__(self, test: LabelInference, encoder: Encoder, sets: MemorizationSets) -> None:
        self.test, self.encoder, self.sets = test, encoder, sets
        public = len(sets.public)
        self.k = max(1, min(PAPER_K, public // 10)) if test.k is None else test.k
        if self.k > public:
            raise ValueError(f"k={self.k} exceeds the public set of {public} images; lower k or add public images")
        self.bank = embed(encoder, sets.public, "public", test.batch_size, test.num_workers)
        check_not_collapsed(self.bank, "public")
        self._labels = self.bank.labels
        self._check_labels(self._labels, self.bank.ids, "public")

    def on(self, encoder: Encoder, sets: MemorizationSets) -> LabelAttack:
        """Prepare the same attack on another model."""
        return LabelAttack(self.test, encoder, sets)

    def __call__(self, dataset: Samples, role: str) -> Records:
        """Attack every record of a dataset; ``role`` is what errors call it."""
        queries = embed(self.encoder, dataset, role, self.test.batch_size, self.test.num_workers)
        check_not_collapsed(queries, role)
        truth = queries.labels
        self._check_labels(truth, queries.ids, role)
        self._check_public(truth, role)
        neighbors = search(queries, self.bank, self.k, role).indices
        labels = self._labels[neighbors]
        ranked, confidence = [], []
        for start in range(0, len(labels), ROWS_AT_ONCE):
            part = labels[start : start + ROWS_AT_ONCE]
            votes = label_votes(part, self.sets.num_classes)
            ranked.append(rank_labels(votes, part, top_k=min(5, self.sets.num_classes)))
            confidence.append(vote_confidence(votes))
        shown = neighbors[:, :SHOWN_NEIGHBORS].numpy().tolist()  # torch's own is slow on a view
        return label_records(
            queries.ids,
            truth,
            torch.cat(ranked),
            confidence=torch.cat(confidence),
            neighbors=[[self.bank.ids[index] for index in row] for row in shown],
            settings=self.settings,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What the records depend on besides the model."""
        settings = {"test": self.test.name, "k": self.k, "public": len(self.sets.public)}
        return {**settings, "classes": self.sets.num_classes}

    def _check_public(self, truth: Tensor, role: str) -> None:
        lacking = sorted(set(truth.tolist()) - set(self._labels.tolist()))
        if lacking:
            names = self.sets.class_names
            listed = ", ".join(repr(names[label]) if names else str(label) for label in lacking[:5])
            raise ValueError(
                f"the public set has no picture of {len(lacking)} classes of the {role} set, such as {listed}: they "
                "cannot be inferred from neighbours; add public pictures of them, or leave their records out"
            )

    def _check_labels(self, labels: Tensor, ids: list[str], role: str) -> None:
        outside = (labels < 0) | (labels >= self.sets.num_classes)
        if outside.any():
            first = int(outside.nonzero()[0])
            raise ValueError(
                f"label {int(labels[first])} of {ids[first]!r} ({role} set) lies outside [0, {self.sets.num_classes}), "
                "the classes of num_classes"
            )
