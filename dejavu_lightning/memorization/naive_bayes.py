"""A reference without a second model: the label that the tags of a background crop suggest.

Kokhlikyan et al. (2025, arXiv 2504.05651) estimate what correlation alone explains by naive Bayes on the tags of a
crop, P(label | tags), learned from crops that the target was not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dejavu_lightning.memorization.attack import Attack
from dejavu_lightning.memorization.label_inference import LabelAttack, label_records
from dejavu_lightning.memorization.records import Records
from dejavu_lightning.memorization.references import ReferenceRecords
from dejavu_lightning.memorization.sets import LabelledSamples, MemorizationSets, Samples
from dejavu_lightning.object_file import read_tags

ROWS_AT_ONCE = 4096  # bounds the (rows, classes) table of probabilities
FORMS = ("posterior", "product")


class TagModel(NamedTuple):
    """Log probabilities: of a label (C,), of a tag given the label (T, C), of the label given one tag (T, C)."""

    label: Tensor
    tag_of_label: Tensor
    label_of_tag: Tensor


def count_tags(tags: Tensor, labels: Tensor, num_tags: int, num_classes: int, smoothing: float = 1.0) -> TagModel:
    """Learn from tagged records, smoothed by Laplace's rule with a = ``smoothing``.

    With n(t, c) records of label c that have tag t, and n(c) of label c::

        P(c)     = (n(c)    + a) / sum over c of the same
        P(t | c) = (n(t, c) + a) / sum over t of the same
        P(c | t) = (n(t, c) + a) / sum over c of the same

    Args:
        tags: (N, K) int64 in [0, num_tags), none twice in a row; -1 fills rows that have fewer.
        labels: (N,) int64 in [0, num_classes).
        smoothing: above 0.
    """
    rows, places = (tags >= 0).nonzero(as_tuple=True)
    pairs = tags[rows, places] * num_classes + labels[rows]
    joint = torch.bincount(pairs, minlength=num_tags * num_classes).reshape(num_tags, num_classes).double() + smoothing
    single = torch.bincount(labels, minlength=num_classes).double() + smoothing
    return TagModel(
        label=(single / single.sum()).log(),
        tag_of_label=(joint / joint.sum(dim=0)).log(),
        label_of_tag=(joint / joint.sum(dim=1, keepdim=True)).log(),
    )


def label_probabilities(model: TagModel, tags: Tensor, form: Literal["posterior", "product"] = "posterior") -> Tensor:
    """What tags say about labels.

    Args:
        tags: (N, K) int64; -1 fills rows that have fewer.
        form: "posterior", naive Bayes: P(c | tags) proportional to P(c) times the product of P(t | c); "product",
            as published: proportional to the product of P(c | t), which counts the prior once a tag.

    Returns:
        (N, C) float64, rows add up to 1. Without any tag: the prior, or of "product" the same for all labels.
    """
    table = model.tag_of_label if form == "posterior" else model.label_of_tag
    start = model.label if form == "posterior" else torch.zeros_like(model.label)
    total = start.repeat(len(tags), 1)
    for column in tags.T:
        total += torch.where(column[:, None] >= 0, table[column], 0.0)
    return total.softmax(dim=1)


class NaiveBayes:
    """Infers labels from tags of the crops, learned on the records of the other training split.

    It takes the place of a second model: tags in, records like those of ``LabelInference`` out. Its ``confidence`` is
    the negative entropy of the probabilities over all classes. Records have no neighbours.

    Args:
        tags: JSON Lines ``{"id", "objects": [{"label", "score"}]}`` of what a tagger sees in each *crop*, of the
            attacked records and those of the other split; of the held-out ones all or none.
        k: tags of a record that count, the highest scores first.
        form: see :func:`label_probabilities`.
        smoothing: Laplace's, above 0.
    """

    paired = True

    def __init__(
        self, tags: str, k: int = 5, form: Literal["posterior", "product"] = "posterior", smoothing: float = 1.0
    ) -> None:
        if k < 1 or not smoothing > 0:
            raise ValueError(
                f"NaiveBayes: k must be at least 1 and smoothing above 0, got k={k}, smoothing={smoothing}"
            )
        if form not in FORMS:
            raise ValueError(f"NaiveBayes: form must be one of {', '.join(FORMS)}, got {form!r}")
        self.tags, self.k, self.form, self.smoothing = tags, k, form, smoothing
        self._kept: tuple[MemorizationSets, ReferenceRecords] | None = None

    def check(self, sets: MemorizationSets, epochs: list[int]) -> None:
        """Every record must have its tags, and there must be records to learn from."""
        self._kept = None
        known = read_tags(self.tags)
        self._tags_of(_labelled(sets.unseen, "unseen"), known, "unseen")
        self._tags_of(_labelled(sets.attack, "attack"), known, "attack")
        held_out = self._held_out(sets, known)
        if held_out is not None:
            self._tags_of(held_out, known, "held-out")

    def records(self, attack: Attack, epoch: int | None) -> ReferenceRecords:
        """What the tags say; the same in every epoch.

        Raises:
            TypeError: the test does not infer labels.
            ValueError: a record has no line of tags, or no split to learn from is given.
        """
        if not isinstance(attack, LabelAttack):
            raise TypeError(f"NaiveBayes infers labels and cannot be the reference of {type(attack.test).__name__}")
        if self._kept is None or self._kept[0] is not attack.sets:
            self._kept = (attack.sets, self._infer(attack))
        return self._kept[1]

    def _infer(self, attack: LabelAttack) -> ReferenceRecords:
        sets, known = attack.sets, read_tags(self.tags)
        other = _labelled(sets.unseen, "unseen")
        learned = self._tags_of(other, known, "unseen")
        position = {tag: index for index, tag in enumerate(sorted({tag for tags in learned for tag in tags}))}
        if not position:
            raise ValueError(
                f"NaiveBayes: tags={self.tags!r} has no tag of any of the {len(other)} records to learn from"
            )
        rows = _positions(learned, position, self.k)
        model = count_tags(rows, torch.as_tensor(other.labels), len(position), sets.num_classes, self.smoothing)

        def records(dataset: LabelledSamples, role: str) -> Records:
            rows = _positions(self._tags_of(dataset, known, role), position, self.k)
            parts = [label_probabilities(model, part, self.form) for part in torch.split(rows, ROWS_AT_ONCE)]
            ranked = [part.argsort(dim=1, descending=True, stable=True)[:, :5] for part in parts]
            entropy = torch.cat([torch.special.entr(part).sum(dim=1) for part in parts])
            return label_records(
                list(dataset.ids),
                torch.as_tensor(dataset.labels),
                torch.cat(ranked),
                confidence=-entropy,
                support=sets.num_classes,
                neighbors=[[] for _ in rows],
                settings=attack.settings,
            )

        held_out = self._held_out(sets, known)
        return ReferenceRecords(
            records(_labelled(sets.attack, "attack"), "attack"),
            None if held_out is None else records(held_out, "held-out"),
        )

    def _held_out(self, sets: MemorizationSets, known: Mapping[str, list[str]]) -> LabelledSamples | None:
        if sets.held_out is None:
            return None
        held_out = _labelled(sets.held_out, "held-out")
        return held_out if any(identifier in known for identifier in held_out.ids) else None

    def _tags_of(self, dataset: LabelledSamples, known: Mapping[str, list[str]], role: str) -> list[list[str]]:
        lacking = [identifier for identifier in dataset.ids if identifier not in known]
        if lacking:
            raise ValueError(
                f"NaiveBayes: tags={self.tags!r} has no line for {len(lacking)} of the {len(dataset)} records of the "
                f"{role} set, such as {lacking[0]!r}; its ids are like {next(iter(known), None)!r}. A crop in which "
                'nothing is seen needs a line with "objects": []'
            )
        return [known[identifier][: self.k] for identifier in dataset.ids]


def _labelled(dataset: Samples | None, role: str) -> LabelledSamples:
    if dataset is None:
        raise ValueError(f"NaiveBayes learns from {role!r} of the memorization sets, and there is none")
    if not isinstance(dataset, LabelledSamples):
        raise TypeError(f"NaiveBayes needs attributes 'ids' and 'labels' of the {role} set, a {type(dataset).__name__}")
    return dataset


def _positions(tags: Sequence[Sequence[str]], position: Mapping[str, int], width: int) -> Tensor:
    """(N, width) int64; tags that were not learned are left out, -1 fills up."""
    rows = torch.full((len(tags), width), -1)
    for row, found in enumerate(tags):
        for place, index in enumerate(position[tag] for tag in found if tag in position):
            rows[row, place] = index
    return rows
