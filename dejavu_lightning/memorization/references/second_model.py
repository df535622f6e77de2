"""What infers the label without having seen the image: the dataset-level correlation to subtract."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from dejavu_lightning.core.records import Records
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.split_record import SplitRecord
from dejavu_lightning.embedding.encoders import ModuleEncoder, preserve_state
from dejavu_lightning.memorization.protocols import Attack
from dejavu_lightning.runs.checkpoints import checkpoints_by_epoch, load_checkpoint


class ReferenceRecords(NamedTuple):
    """What a reference infers: of the attacked records, and of the held-out ones where it can."""

    attack: Records
    held_out: Records | None


@runtime_checkable
class Reference(Protocol):
    """Turns the attacked records into comparable records without knowledge of the target's training.

    ``paired`` tells whether its records have the target's ids.
    """

    paired: bool

    def check(self, sets: MemorizationSets, epochs: list[int]) -> None:
        """Raise now what would otherwise be raised in one of these epochs."""
        ...

    def records(self, attack: Attack, epoch: int | None) -> ReferenceRecords:
        """Infer; ``attack`` is the target's, ``epoch`` the number of epochs it has completed."""
        ...


class HeldOut:
    """The target itself, attacked on records that it was not trained on: no second model is needed.

    A and B are random halves of one population, so the target's accuracy on records of the other half
    estimates the dataset-level correlation. There is no outcome per record.

    Args:
        split: "other_split" attacks the records of the other training split, "neither_split" those of neither.
    """

    paired = False

    def __init__(self, split: Literal["other_split", "neither_split"] = "other_split") -> None:
        if split not in ("other_split", "neither_split"):
            raise ValueError(f"HeldOut: split must be 'other_split' or 'neither_split', got {split!r}")
        self.split = split

    def check(self, sets: MemorizationSets, epochs: list[int]) -> None:
        """The set must be there."""
        if self._set(sets) is None:
            raise ValueError(
                f"HeldOut(split={self.split!r}) needs {self.split!r} among the memorization sets, and there is none"
            )

    def records(self, attack: Attack, epoch: int | None) -> ReferenceRecords:
        """The target's own records of the set it was not trained on."""
        self.check(attack.sets, [])
        return ReferenceRecords(attack(self._set(attack.sets), f"{self.split} reference"), None)

    def _set(self, sets: MemorizationSets) -> Any:
        return sets.other_split if self.split == "other_split" else sets.neither_split


class SecondModel:
    """A model that was not trained on the attacked records, at hand: the reference of the two-model test.

    Args:
        encoder: the second model.
        trained_on: what it was trained on, if that is known.
        sets: the target's sets in the preprocessing of this model; the target's own if not given.
        name: what errors call it.
        allow_unverified_split: see :func:`verify_disjoint`.
    """

    paired = True

    def __init__(
        self,
        encoder: ModuleEncoder,
        trained_on: SplitRecord | None = None,
        sets: MemorizationSets | None = None,
        name: str = "the reference",
        allow_unverified_split: bool = False,
    ) -> None:
        self.encoder, self.trained_on, self.sets, self.name = encoder, trained_on, sets, name
        self.allow_unverified_split = allow_unverified_split

    def check(self, sets: MemorizationSets, epochs: list[int]) -> None:
        """It must come from a disjoint split."""
        if not self.allow_unverified_split:
            verify_disjoint(sets.trained_on, self.trained_on, self.name)

    def records(self, attack: Attack, epoch: int | None) -> ReferenceRecords:
        """The second model's records, with its own bank of public embeddings."""
        self.check(attack.sets, [])
        sets = self.sets or attack.sets
        with preserve_state(self.encoder.module):
            other = attack.test.prepare(self.encoder, sets)
            attacked = other(sets.attack, "attack")
            return ReferenceRecords(attacked, other(sets.neither_split, "held-out") if sets.neither_split else None)


def verify_disjoint(target: SplitRecord | None, reference: SplitRecord | None, name: str) -> None:
    """Refuse a reference that has, or may have, been trained on the attacked records.

    Args:
        target, reference: what each was trained on, if it is known.
        name: what errors call the reference.

    Raises:
        ValueError: they share a split, come from different partitions, or one does not say.
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
    if target.split == reference.split:
        raise ValueError(
            f"{name} was trained on split {reference.split!r}, like the target: it has seen every attacked record "
            f"and cannot be the reference; train it on the other split, or {remedy}"
        )


class Checkpoint:
    """A second model from a file, trained on the other split: the two-model test while the target trains.

    Args:
        path: a checkpoint file, or a directory, from which the checkpoint with as many completed epochs
            as the target is taken. Lightning's format; loaded with ``weights_only=True``.
        encoder: an encoder for the weights where the reference's architecture is not the target's; its
            weights are replaced by the checkpoint's.
        allow_unverified_split: compare although it cannot be told, or is not true, that the reference's
            training set is disjoint from the attacked records.
    """

    paired = True

    def __init__(
        self, path: str | Path, encoder: ModuleEncoder | None = None, allow_unverified_split: bool = False
    ) -> None:
        self.path, self.encoder, self.allow_unverified_split = Path(path), encoder, allow_unverified_split
        self._kept: tuple[tuple[Path, int, str, int], ReferenceRecords] | None = None

    def check(self, sets: MemorizationSets, epochs: list[int]) -> None:
        """The files must be there and come from a disjoint split."""
        self._kept = None
        for file in self._files(epochs):
            if not self.allow_unverified_split:
                verify_disjoint(sets.trained_on, SplitRecord.find(load_checkpoint(file)), str(file))

    def records(self, attack: Attack, epoch: int | None) -> ReferenceRecords:
        """The second model's records, with its own bank of public embeddings."""
        if epoch is None and not self.path.is_file():
            raise ValueError(f"Checkpoint: {self.path} is no file and the target's epoch is unknown; name one file")
        file = self._files([epoch or 0])[0]
        # What a fixed checkpoint answers does not change from one measurement to the next.
        asked = (file, file.stat().st_mtime_ns, str(vars(attack.test)), id(attack.sets))
        if self._kept and self._kept[0] == asked:
            return self._kept[1]
        checkpoint = load_checkpoint(file)
        base = self.encoder or attack.encoder
        if not isinstance(base, ModuleEncoder):
            raise TypeError(
                "Checkpoint needs to know the module its weights belong to: pass encoder=ModuleEncoder(...)"
            )
        encoder = base.with_weights(checkpoint["state_dict"], str(file))
        model = SecondModel(
            encoder,
            SplitRecord.find(checkpoint),
            name=str(file),
            allow_unverified_split=self.allow_unverified_split,
        )
        found = model.records(attack, epoch)
        self._kept = (asked, found)
        return found

    def _files(self, epochs: list[int]) -> list[Path]:
        """The file of each epoch."""
        if self.path.is_file():
            return [self.path] * len(epochs)
        if not self.path.is_dir():
            raise FileNotFoundError(f"Checkpoint: {self.path} is neither a file nor a directory")
        found = checkpoints_by_epoch(self.path)
        lacking = sorted(set(epochs) - set(found))
        if lacking:
            raise ValueError(
                f"Checkpoint: {self.path} holds no checkpoint of epochs {lacking}, only of epochs {sorted(found)}; "
                "train the reference with the same schedule, or name one file"
            )
        return [found[epoch] for epoch in epochs]
