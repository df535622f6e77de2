"""The image test of Meehan et al. (2023, arXiv 2304.13850, section 4): does a background give the label away?

Background crop -> embedding -> k nearest public images -> majority label.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from torch import Tensor

from dejavu_lightning.core.records import Records
from dejavu_lightning.core.samples import Samples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.embed import Embedded, check_not_collapsed, embed
from dejavu_lightning.embedding.encoders import Encoder, ModuleEncoder
from dejavu_lightning.embedding.nearest.search import search
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.label_inference.display import DISPLAY
from dejavu_lightning.memorization.label_inference.metrics import compare_labels
from dejavu_lightning.memorization.label_inference.records import (
    label_records,
    ranked_by_votes,
    records_of_probabilities,
)
from dejavu_lightning.memorization.protocols import Attack, Comparison

SHOWN_NEIGHBORS = 5
PAPER_K = 100  # Meehan et al., section 4


class LabelInference:
    """Infer the label of each background crop from its k nearest public images.

    The test of Meehan et al. (2023, arXiv 2304.13850, section 4). Its headline is ``score``, the target's accuracy less
    the reference's, in [-1, 1]. Of an encoder that gives several layers by name, such as ``encode_layers`` of this
    package's methods, each is attacked, all in one pass: ``score/<layer>``; other numbers are of the last one.

    Args:
        k: neighbours that vote, unweighted; at most the size of the public set. A tenth of it, but no more than the
            paper's 100, if not given.
        ks: neighbours of further numbers: ``score/k=5``, ...; all come from one search.
        batch_size: pictures the encoder sees at once; the numbers do not depend on how many processes
            share the work, but may change in the last digit with this size.
        num_workers: processes that decode pictures.

    Raises:
        ValueError: k, one of ks or batch_size is below 1.

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

    def __init__(
        self, k: int | None = None, batch_size: int = 250, num_workers: int = 0, ks: Sequence[int] = ()
    ) -> None:
        if (k is not None and k < 1) or min([batch_size, *ks]) < 1:
            raise ValueError(
                f"k, ks and batch_size must be at least 1, got k={k}, ks={list(ks)}, batch_size={batch_size}"
            )
        self.k, self.batch_size, self.num_workers, self.ks = k, batch_size, num_workers, sorted(set(ks))

    def chosen_k(self, public: int) -> int | None:
        """A tenth of so many public samples, 100 at most, where no k was given; None where one was."""
        return max(1, min(PAPER_K, public // 10)) if self.k is None else None

    def check(self, encoder: Encoder) -> None:
        """Raise now what encoding would raise later."""
        if isinstance(encoder, ModuleEncoder):
            encoder.resolve()

    def prepare(self, encoder: Encoder, sets: MemorizationSets) -> Attack:
        """Embed the public set once, ready to attack any number of datasets.

        Raises:
            ValueError: k or one of ks exceeds the public set, or a label lies outside the class range.
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
    """A :class:`LabelInference` bound to one encoder and its banks of public embeddings, one for each of its layers.

    With several processes each holds the share of the banks that it embedded.
    """

    def __init__(self, test: LabelInference, encoder: Encoder, sets: MemorizationSets) -> None:
        self.test, self.encoder, self.sets = test, encoder, sets
        public = len(sets.public)
        self.k = int(test.k or test.chosen_k(public) or 1)
        self._most = max(self.k, *test.ks, 1)
        if self._most > public:
            lower = "k and ks" if test.ks else "k"
            raise ValueError(
                f"k={self._most} exceeds the public set of {public} images; lower {lower} or add public images"
            )
        self._ids, self._labels, self._banks = self._embed(sets.public, "public")
        self._check_labels(self._labels, self._ids, "public")

    def on(self, encoder: Encoder, sets: MemorizationSets) -> LabelAttack:
        """Prepare the same attack on another model."""
        return LabelAttack(self.test, encoder, sets)

    def __call__(self, dataset: Samples, role: str) -> Records:
        """Attack every record of a dataset; ``role`` is what errors call it."""
        ids, truth, queries = self._embed(dataset, role)
        self._check_labels(truth, ids, role)
        self._check_public(truth, role)
        found = {layer: search(asked, self._banks[layer], self._most, role).indices for layer, asked in queries.items()}
        *_, neighbors = found.values()
        further = {f"k={k}": (neighbors, k) for k in self.test.ks}
        if len(found) > 1:
            further |= {layer: (indices, self.k) for layer, indices in found.items()}
        shown = neighbors[:, : min(SHOWN_NEIGHBORS, self.k)].numpy().tolist()  # torch's own is slow on a view
        return label_records(
            ids,
            truth,
            self._voted(neighbors, self.k),
            further={name: self._voted(*voters) for name, voters in further.items()},
            neighbors=[[self._ids[index] for index in row] for row in shown],
            settings=self.settings,
        )

    def _voted(self, neighbors: Tensor, k: int) -> tuple[Tensor, Tensor]:
        return ranked_by_votes(self._labels[neighbors[:, :k]], self.sets.num_classes)

    def _embed(self, dataset: Samples, role: str) -> tuple[list[str], Tensor, dict[str, Embedded]]:
        """Ids, labels, and the embeddings of each layer."""
        found = embed(self.encoder, dataset, role, self.test.batch_size, self.test.num_workers, several=True)
        layers = found.layers()
        for layer, part in layers.items():
            check_not_collapsed(part, f"{role} ({layer})" if layer else role)
        return found.ids, found.labels, layers

    @property
    def settings(self) -> dict[str, Any]:
        """What the records depend on besides the model."""
        settings = {"test": self.test.name, "k": self.k, "public": len(self.sets.public)}
        further = {"ks": self.test.ks, "layers": list(self._banks) if len(self._banks) > 1 else []}
        return {**settings, "classes": self.sets.num_classes} | {key: held for key, held in further.items() if held}

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
