"""The image test of Meehan et al. (2023, arXiv 2304.13850, section 4): does a background give the label away?

Background crop -> embedding -> k nearest public images -> majority label.
"""

from __future__ import annotations

import pyarrow as pa
import torch
from torch import Tensor

from dejavu_lightning.distributed import gathered
from dejavu_lightning.memorization.embedding import embed
from dejavu_lightning.memorization.encoders import Encoder
from dejavu_lightning.memorization.neighbors import nearest_neighbors
from dejavu_lightning.memorization.records import Records
from dejavu_lightning.memorization.sets import MemorizationSets, Samples
from dejavu_lightning.metrics.functional import label_votes, rank_labels, vote_confidence

SHOWN_NEIGHBORS = 5
ROWS_AT_ONCE = 4096  # bounds the (rows, classes) table of votes


class LabelInference:
    """Infer the label of each background crop from its k nearest public images.

    Args:
        k: neighbours that vote, unweighted; at most the size of the public set.
        batch_size: pictures the encoder sees at once; the numbers do not depend on how many processes
            share the work, but may change in the last digit with this size.
        num_workers: processes that decode pictures.
    """

    name = "label_inference"

    def __init__(self, k: int = 100, batch_size: int = 250, num_workers: int = 0) -> None:
        if k < 1 or batch_size < 1:
            raise ValueError(f"k and batch_size must be at least 1, got k={k}, batch_size={batch_size}")
        self.k, self.batch_size, self.num_workers = k, batch_size, num_workers

    def prepare(self, encoder: Encoder, sets: MemorizationSets) -> LabelAttack:
        """Embed the public set once, ready to attack any number of datasets.

        Raises:
            ValueError: k exceeds the public set, or a label lies outside the class range.
        """
        return LabelAttack(self, encoder, sets)


class LabelAttack:
    """A :class:`LabelInference` bound to one encoder and its bank of public embeddings.

    With several processes each holds the share of the bank that it embedded.
    """

    def __init__(self, test: LabelInference, encoder: Encoder, sets: MemorizationSets) -> None:
        self.test, self.encoder, self.sets = test, encoder, sets
        public = len(sets.public)
        if test.k > public:
            raise ValueError(f"k={test.k} exceeds the public set of {public} images; lower k or add public images")
        self.bank = embed(encoder, sets.public, "public", test.batch_size, test.num_workers)
        self._check_labels(self.bank.labels, self.bank.ids, "public")

    def __call__(self, dataset: Samples, role: str) -> Records:
        """Attack every record of a dataset; ``role`` is what errors call it."""
        queries = embed(self.encoder, dataset, role, self.test.batch_size, self.test.num_workers)
        self._check_labels(queries.labels, queries.ids, role)
        known = set(queries.ids) & set(self.bank.ids)
        if known:
            raise ValueError(
                f"{len(known)} ids are both in the {role} set and in the public set, such as {min(known)!r}: "
                "a record would find itself; the sets must be disjoint"
            )
        neighbors = self._search(queries.rows, queries.embeddings, len(queries.ids))
        labels = self.bank.labels[neighbors]
        ranked, confidence = [], []
        for start in range(0, len(labels), ROWS_AT_ONCE):
            part = labels[start : start + ROWS_AT_ONCE]
            votes = label_votes(part, self.sets.num_classes)
            ranked.append(rank_labels(votes, part, top_k=min(5, self.sets.num_classes)))
            confidence.append(vote_confidence(votes))
        top5 = torch.cat(ranked)
        shown = neighbors[:, :SHOWN_NEIGHBORS].numpy().tolist()  # torch's own is slow on a view
        table = pa.table(
            {
                "id": queries.ids,
                "label": queries.labels.numpy(),
                "predicted": top5[:, 0].numpy(),
                "confidence": torch.cat(confidence).numpy(),
                "correct": (top5[:, 0] == queries.labels).numpy(),
                "correct_top5": (top5 == queries.labels[:, None]).any(dim=1).numpy(),
                "neighbors": [[self.bank.ids[index] for index in row] for row in shown],
            }
        )
        settings = {"test": self.test.name, "k": self.test.k, "public": len(self.bank.ids)}
        return Records(table, {**settings, "classes": self.sets.num_classes})

    def _search(self, rows: Tensor, embeddings: Tensor, count: int) -> Tensor:
        """Indices (count, k) into the public set; the processes' shares of queries meet all shares of the bank."""
        shares = gathered((rows, embeddings.cpu()))
        everyone = torch.cat([share[0] for share in shares])
        queries = torch.cat([share[1] for share in shares if len(share[0])]).to(self.bank.embeddings.device)
        own = len(self.bank.rows)
        if own:
            distances, local = nearest_neighbors(queries, self.bank.embeddings, min(self.test.k, own))
            found = (distances.cpu(), self.bank.rows[local.cpu()])
        else:
            found = (torch.empty(len(queries), 0, dtype=torch.float64), torch.empty(len(queries), 0, dtype=torch.int64))
        finds = gathered(found)
        index, order = torch.cat([find[1] for find in finds], dim=1).sort(dim=1)
        distance = torch.cat([find[0] for find in finds], dim=1).gather(1, order)
        nearest = index.gather(1, distance.argsort(dim=1, stable=True)[:, : self.test.k])
        result = torch.empty(count, self.test.k, dtype=torch.int64)
        result[everyone] = nearest
        return result

    def _check_labels(self, labels: Tensor, ids: list[str], role: str) -> None:
        outside = (labels < 0) | (labels >= self.sets.num_classes)
        if outside.any():
            first = int(outside.nonzero()[0])
            raise ValueError(
                f"label {int(labels[first])} of {ids[first]!r} ({role} set) lies outside [0, {self.sets.num_classes}), "
                "the classes of num_classes"
            )
