"""A reference without a second model: the label that the tags of a background crop suggest.

Kokhlikyan et al. (2024, arXiv 2504.05651) estimate what correlation alone explains by naive Bayes on the tags of a
crop, P(label | tags), learned from crops that the target was not trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from dejavu_lightning.core.distributed import failing_together
from dejavu_lightning.core.object_file import read_tags
from dejavu_lightning.core.records import Records
from dejavu_lightning.core.samples import LabelledSamples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.memorization.protocols import Attack, InfersLabels, MemorizationTest, ReferenceRecords
from dejavu_lightning.memorization.references.fixed_reference import FixedReference

ROWS_AT_ONCE = 4096  # bounds the (rows, classes) table of probabilities
Form = Literal["posterior", "product"]
FORMS = ("posterior", "product")


class TagModel(NamedTuple):
    """Log weights that add up to a label's: ``prior`` (C,), and ``tags`` (T + 1, C), one row a tag, then zeros."""

    prior: Tensor
    tags: Tensor


def learn_tags(
    tags: Tensor, labels: Tensor, num_tags: int, num_classes: int, smoothing: float = 1.0, form: Form = "posterior"
) -> TagModel:
    """Learn from tagged records, smoothed by Laplace's rule with a = ``smoothing``.

    With n(t, c) records of label c that have tag t, and n(c) of label c::

        P(c)     = (n(c)    + a) / sum over c of the same
        P(t | c) = (n(t, c) + a) / sum over t of the same
        P(c | t) = (n(t, c) + a) / sum over c of the same

    Args:
        tags: (N, K) int64 in [0, num_tags), none twice in a row; -1 fills rows that have fewer.
        labels: (N,) int64 in [0, num_classes).
        smoothing: above 0.
        form: "posterior", naive Bayes: P(c | tags) proportional to P(c) times the product of P(t | c); "product",
            as published: proportional to the product of P(c | t), which counts the prior once a tag.
    """
    rows, places = (tags >= 0).nonzero(as_tuple=True)
    pairs = tags[rows, places] * num_classes + labels[rows]
    joint = torch.bincount(pairs, minlength=num_tags * num_classes).reshape(num_tags, num_classes).double() + smoothing
    if form == "product":
        prior = torch.zeros(num_classes, dtype=torch.float64)
        joint /= joint.sum(dim=1, keepdim=True)
    else:
        single = torch.bincount(labels, minlength=num_classes).double() + smoothing
        prior = (single / single.sum()).log()
        joint /= joint.sum(dim=0)
    return TagModel(prior, torch.cat([joint.log_(), torch.zeros_like(joint[:1])]))


def label_probabilities(model: TagModel, tags: Tensor) -> Tensor:
    """What tags say about labels.

    Args:
        model: see :func:`learn_tags`.
        tags: (N, K) int64; -1 fills rows that have fewer.

    Returns:
        (N, C) float64, rows add up to 1. Without any tag: the prior, or of "product" the same for all labels.
    """
    rows = tags % len(model.tags)  # -1 becomes the last, of zeros
    return (nn.functional.embedding_bag(rows, model.tags, mode="sum") + model.prior).softmax(dim=1)


class NaiveBayes(FixedReference):
    """Infer labels from tags of the crops, learned on the records of the other training split.

    It takes the place of a second model (Kokhlikyan et al. 2024, arXiv 2504.05651): tags in, records like those of
    ``LabelInference`` out. Its ``confidence`` is the negative entropy of the probabilities over all classes, in nats.
    Records have no neighbours.

    Args:
        tags: JSON Lines ``{"id", "objects": [{"label", "score"}]}`` of what a tagger sees in each *crop*, of the
            attacked records and those of the other split; of the held-out ones all or none.
        k: tags of a record that count, the highest scores first.
        form: see :func:`learn_tags`.
        smoothing: Laplace's, above 0.

    Raises:
        ValueError: k is below 1, smoothing is not above 0, or there is no such form.

    Example:
        >>> from torch import nn
        >>> from dejavu_lightning.data import ImageDataModule, Scenes
        >>> from dejavu_lightning.memorization import LabelInference, measure
        >>> sets = ImageDataModule(Scenes(200), per_class=4, min_crop_side=8).memorization_sets()
        >>> reference = NaiveBayes("tags.jsonl")  # {"id": "scene-000000", "objects": [{"label": "sky"}]}, ...
        >>> found = measure(nn.Flatten(), LabelInference(k=5), reference, sets)
        >>> len(set(found.reference.table["predicted"].to_pylist()))  # one tag tells no two records apart
        1
    """

    kind = "naive Bayes on tags"
    serves, served = InfersLabels, "label inference"

    def __init__(self, tags: str, k: int = 5, form: Form = "posterior", smoothing: float = 1.0) -> None:
        if k < 1 or not smoothing > 0:
            raise ValueError(
                f"NaiveBayes: k must be at least 1 and smoothing above 0, got k={k}, smoothing={smoothing}"
            )
        if form not in FORMS:
            raise ValueError(f"NaiveBayes: form must be one of {', '.join(FORMS)}, got {form!r}")
        self.tags, self.k, self.form, self.smoothing = tags, k, form, smoothing

    def check(self, test: MemorizationTest, sets: MemorizationSets, epochs: list[int]) -> None:
        """Every record must have its tags, and there must be records to learn from."""
        super().check(test, sets, epochs)
        self._tagged(sets)

    def infer(self, attack: Attack) -> ReferenceRecords:
        """What the tags say.

        Raises:
            ValueError: a record has no line of tags, or no split to learn from is given.
        """
        test, sets = attack.test, attack.sets
        assert isinstance(test, InfersLabels)
        with failing_together():
            tagged = self._tagged(sets)
        learned = tagged["other_split"]
        position = {tag: index for index, tag in enumerate(sorted({tag for tags in learned.tags for tag in tags}))}
        if not position:
            raise ValueError(
                f"NaiveBayes: tags={self.tags!r} has no tag of any of the {len(learned.tags)} records to learn from"
            )
        model = learn_tags(
            _positions(learned.tags, position, self.k),
            torch.as_tensor(learned.samples.labels),
            len(position),
            sets.num_classes,
            self.smoothing,
            self.form,
        )

        def records(role: str) -> Records:
            samples, tags = tagged[role]
            parts = torch.split(_positions(tags, position, self.k), ROWS_AT_ONCE)
            probabilities = (label_probabilities(model, part) for part in parts)
            labels = torch.as_tensor(samples.labels)
            return test.records_of_probabilities(list(samples.ids), labels, probabilities, type(self).__name__)

        return ReferenceRecords(records("attack"), records("held-out") if "held-out" in tagged else None)

    def _tagged(self, sets: MemorizationSets) -> dict[str, Tagged]:
        """The sets with their tags, by role; held-out records are left out where none of them has any."""
        known = read_tags(self.tags)
        found = {}
        learn = sets.reference_train if sets.reference_train is not None else sets.other_split
        for role, samples in (("other_split", learn), ("attack", sets.attack), ("held-out", sets.neither_split)):
            if role == "held-out" and samples is None:
                continue
            if samples is None:
                raise ValueError(f"NaiveBayes learns from {role!r} of the memorization sets, and there is none")
            # Python 3.12 finds the property of a subsample whether or not its data set has labels.
            if not isinstance(samples, LabelledSamples) or getattr(samples, "labels", None) is None:
                kind = type(samples).__name__
                raise TypeError(f"NaiveBayes needs attributes 'ids' and 'labels' of the {role} set, a {kind}")
            lacking = [identifier for identifier in samples.ids if identifier not in known]
            if role == "held-out" and len(lacking) == len(samples):
                continue
            if lacking:
                raise ValueError(
                    f"NaiveBayes: tags={self.tags!r} has no line for {len(lacking)} of the {len(samples)} records of "
                    f"the {role} set, such as {lacking[0]!r}; its ids are like {next(iter(known), None)!r}. A crop in "
                    'which nothing is seen needs a line with "objects": []'
                )
            found[role] = Tagged(samples, [known[identifier][: self.k] for identifier in samples.ids])
        return found


class Tagged(NamedTuple):
    """Samples (N,) and the tags of each, the highest scores first."""

    samples: LabelledSamples
    tags: list[list[str]]


def _positions(tags: Sequence[Sequence[str]], position: Mapping[str, int], width: int) -> Tensor:
    """(N, width) int64; tags that were not learned are left out, -1 fills up."""
    rows = torch.full((len(tags), width), -1)
    for row, found in enumerate(tags):
        for place, index in enumerate(position[tag] for tag in found if tag in position):
            rows[row, place] = index
    return rows
