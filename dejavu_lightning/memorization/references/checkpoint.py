"""The reference of the two-model test from a file, or from the folder of a run epoch by epoch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from dejavu_lightning.core.checkpoint_folder import explain_folder, is_sharded
from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.core.distributed import failing_together
from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.split_record import SplitRecord, verify_disjoint
from dejavu_lightning.embedding.encoders import ModuleEncoder
from dejavu_lightning.memorization.protocols import Attack, MemorizationTest, ReferenceRecords
from dejavu_lightning.memorization.references.kept_answer import KeptAnswer
from dejavu_lightning.memorization.references.second_model import SecondModel
from dejavu_lightning.runs.checkpoints import checkpoints_by_epoch, load_checkpoint, training_progress


class Checkpoint:
    """Attack a second model from a file, trained on the other split: the two-model test while the target trains.

    Args:
        path: a checkpoint file, or a directory, from which the checkpoint with as many completed epochs
            as the target is taken. Lightning's format; loaded with ``weights_only=True``.
        encoder: an encoder for the weights where the reference's architecture is not the target's; its
            weights are replaced by the checkpoint's.
        allow_unverified_split: compare although it cannot be told, or is not true, that the reference's
            training set is disjoint from the attacked records.
        preprocessing: of the pictures that it is shown; what the checkpoint says if not given. One that says nothing
            is taken to be shown what the target is, unless it has an ``encoder`` of its own.
        allow_unequal_epochs: compare although the file at ``path`` is of another epoch than the target.

    Raises:
        FileNotFoundError: once it is asked, and there is no such file or directory.
        ValueError: once it is asked, and the checkpoint is of another epoch, of the attacked split or not known to be
            of another, or its weights do not fit.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from dejavu_lightning.data import ImageDataModule, Scenes
        >>> from dejavu_lightning.memorization import LabelInference, measure
        >>> data = ImageDataModule(Scenes(200), train_on="A", per_class=4, min_crop_side=8)
        >>> target, other = (nn.Sequential(nn.Flatten(), nn.Linear(3072, 4)) for _ in "AB")
        >>> record = data.manifest.record("B").state()  # as a datamodule leaves it in a checkpoint
        >>> torch.save({"state_dict": other.state_dict(), "data": record}, "reference.ckpt")
        >>> found = measure(target, LabelInference(k=5), Checkpoint("reference.ckpt"), data.memorization_sets())
        >>> len(found.comparison.table) == len(found.target)  # an outcome for each record
        True
    """

    paired = True
    kind = "second model"

    def __init__(
        self,
        path: str | Path,
        encoder: ModuleEncoder | None = None,
        allow_unverified_split: bool = False,
        preprocessing: Preprocessing | None = None,
        allow_unequal_epochs: bool = False,
    ) -> None:
        self.path, self.encoder, self.allow_unverified_split = Path(path), encoder, allow_unverified_split
        self.allow_unequal_epochs = allow_unequal_epochs
        self.preprocessing = preprocessing
        self._kept: KeptAnswer[tuple[ReferenceRecords, str | None]] = KeptAnswer()

    def check(self, test: MemorizationTest, sets: MemorizationSets, epochs: list[int]) -> None:
        """The files must be there and come from a disjoint split, and their pictures must be at hand."""
        for file, epoch in zip(self._files(epochs), epochs, strict=True):
            checkpoint = load_checkpoint(file)
            self._check_epoch(training_progress(checkpoint), epoch, file)
            if not self.allow_unverified_split:
                verify_disjoint(sets.trained_on, SplitRecord.find(checkpoint), str(file))
            self._own_sets(sets, checkpoint, file)

    def records(self, attack: Attack, epoch: int | None) -> ReferenceRecords:
        """The second model's records, with its own bank of public embeddings."""
        with failing_together():
            file = self._file(epoch)
            # What a fixed checkpoint answers does not change from one measurement to the next.
            asked = (file, file.stat().st_mtime_ns, attack.settings)
        kept = self._kept.find(attack.sets, asked)
        if kept is not None:
            self._check_epoch(kept[1], epoch, file)
            return kept[0]
        with failing_together():
            model, told = self._load(attack, epoch, file)
        return self._kept.keep(attack.sets, asked, (model.records(attack, epoch), told))[0]

    def _load(self, attack: Attack, epoch: int | None, file: Path) -> tuple[SecondModel, str | None]:
        """The second model, and for how long it was trained."""
        checkpoint = load_checkpoint(file, intact=True)
        told = training_progress(checkpoint)
        self._check_epoch(told, epoch, file)
        base = self.encoder or attack.encoder
        if not isinstance(base, ModuleEncoder):
            raise TypeError(
                "Checkpoint needs to know the module its weights belong to: pass encoder=ModuleEncoder(...)"
            )
        encoder, own = (
            base.with_weights(checkpoint["state_dict"], str(file)),
            self._own_sets(attack.sets, checkpoint, file),
        )
        if encoder.kept is not None and own.preprocessing is not None:
            encoder.kept = encoder.kept.with_provenance(preprocessing=asdict(own.preprocessing))
        model = SecondModel(
            encoder,
            SplitRecord.find(checkpoint),
            own,
            name=str(file),
            allow_unverified_split=self.allow_unverified_split,
        )
        model.check(attack.test, attack.sets, [])
        return model, told

    def _check_epoch(self, told: str | None, epoch: int | None, file: Path) -> None:
        """Both models must have been trained for the same number of epochs, where both are known."""
        if not self.allow_unequal_epochs and epoch is not None and told not in (None, f"{epoch} epochs"):
            raise ValueError(
                f"Checkpoint: {file} was saved after {told}, the target is compared after {epoch} epochs. Name the "
                "folder of the reference's checkpoints, from which that of the target's epoch is taken, or set "
                "allow_unequal_epochs=True"
            )

    def _own_sets(self, sets: MemorizationSets, checkpoint: dict[str, Any], file: Path) -> MemorizationSets:
        """The target's sets in the preprocessing of the checkpoint's model."""
        own = self.preprocessing or Preprocessing.find(checkpoint)
        if own is None and self.encoder is None:
            return sets
        return sets.shown_to(f"Checkpoint: {file}", own)

    def decision(self, epoch: int | None) -> DecisionPart | None:
        """The records that decided when the second model stopped training, None where none did."""
        return DecisionPart.find(load_checkpoint(self._file(epoch)))

    def _file(self, epoch: int | None) -> Path:
        if epoch is None and not self.path.is_file():
            raise ValueError(f"Checkpoint: {self.path} is no file and the target's epoch is unknown; name one file")
        return self._files([epoch or 0])[0]

    def _files(self, epochs: list[int]) -> list[Path]:
        """The file of each epoch."""
        if self.path.is_file():
            return [self.path] * len(epochs)
        if not self.path.is_dir():
            raise FileNotFoundError(f"Checkpoint: path={self.path} is neither a file nor a directory")
        if is_sharded(self.path):
            raise ValueError(f"Checkpoint: {explain_folder(self.path)}")
        found = checkpoints_by_epoch(self.path)
        lacking = sorted(set(epochs) - set(found))
        if lacking:
            raise ValueError(
                f"Checkpoint: {self.path} holds no checkpoint of epochs {lacking}, only of epochs {sorted(found)}; "
                "train the reference with the same schedule, or name one file"
            )
        return [found[epoch] for epoch in epochs]
