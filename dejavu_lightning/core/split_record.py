"""What a model was trained on: the split and the partition it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SPLITS_FILE = "splits.parquet"  # the partition of a run's data, in its folder


@dataclass(frozen=True)
class SplitRecord:
    """The split a model is trained on and the fingerprint of the partition it belongs to.

    Attributes:
        split: "A" or "B".
        split_fingerprint: of the partition, see ``SplitManifest.fingerprint``; two models are only comparable on one.
        content_fingerprint: of what the samples hold, so that other samples under the same ids are told apart; empty
            where the data do not say.
        unverified: why it could not be told that training showed that split and no other, empty where it was.

    Example:
        >>> SplitRecord("A", split_fingerprint="0123456789abcdef").state()
        {'split': 'A', 'split_fingerprint': '0123456789abcdef'}
        >>> SplitRecord.find({"dejavu_lightning": {"split": "B", "split_fingerprint": "0123456789abcdef"}}).split
        'B'
    """

    split: str
    split_fingerprint: str
    content_fingerprint: str = ""
    unverified: str = field(default="", compare=False)

    def state(self) -> dict[str, str]:
        """As a checkpoint stores it."""
        return {key: value for key, value in asdict(self).items() if value}

    @classmethod
    def find(cls, checkpoint: Mapping[str, Any]) -> SplitRecord | None:
        """The record that a datamodule or a callback left in a checkpoint, if any did."""
        for state in checkpoint.values():
            if isinstance(state, dict) and {"split", "split_fingerprint"} <= state.keys():
                further = (str(state.get(name, "")) for name in ("content_fingerprint", "unverified"))
                return cls(str(state["split"]), str(state["split_fingerprint"]), *further)
        return None


def verify_disjoint(target: SplitRecord | None, reference: SplitRecord | None, name: str) -> None:
    """Refuse a reference that has, or may have, been trained on the attacked records.

    Args:
        target, reference: what each was trained on, if it is known.
        name: what errors call the reference.

    Raises:
        ValueError: they share a split, come from different partitions or from other samples, or one does not say or is
            unverified.
    """
    remedy = "set allow_unverified_split to compare all the same"
    if target is None or reference is None:
        who = "the target's data do" if target is None else f"{name} does"
        raise ValueError(f"{who} not say which split is trained on, so an overlap cannot be ruled out; {remedy}")
    if target.split_fingerprint != reference.split_fingerprint:
        raise ValueError(
            f"{name} was trained on split {reference.split!r} of another partition (fingerprint "
            f"{reference.split_fingerprint}, the target's is {target.split_fingerprint}), so its training set may hold "
            f"attacked records; use one split seed for both, or {remedy}"
        )
    if target.content_fingerprint != reference.content_fingerprint:
        found, expected = (record.content_fingerprint or "missing" for record in (reference, target))
        raise ValueError(
            f"{name} was trained on other samples under the same split seed (content fingerprint {found}, the target's "
            f"is {expected}), as of another download whose ids count positions, so its training set may hold attacked "
            f"records; train both on the same files, or {remedy}"
        )
    if target.split == reference.split:
        raise ValueError(
            f"{name} was trained on split {reference.split!r}, like the target: it has seen every attacked record "
            f"and cannot be the reference; train it on the other split, or {remedy}"
        )
    for who, record in (("the target", target), (name, reference)):
        if record.unverified:
            raise ValueError(
                f"{who} says that it was trained on split {record.split!r}, which is unverified: {record.unverified}; "
                f"train on a data set with an attribute ids like that of the attacked records, or {remedy}"
            )
