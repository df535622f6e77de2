"""A reference without a second model of the target's kind: a classifier of background crops.

Kokhlikyan et al. (2024, arXiv 2504.05651) train a classifier on crops of pictures that the target was not trained on;
what it infers of the attacked crops is what correlation explains.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from dejavu_lightning.core.distributed import failing_together
from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.records import Records
from dejavu_lightning.core.samples import Samples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.split_record import SplitRecord, verify_disjoint
from dejavu_lightning.embedding.embed import embed
from dejavu_lightning.embedding.encoders import ModuleEncoder, preserve_state
from dejavu_lightning.memorization.protocols import Attack, InfersLabels, MemorizationTest, ReferenceRecords
from dejavu_lightning.memorization.references.fixed_reference import FixedReference
from dejavu_lightning.runs.checkpoints import load_checkpoint

ROWS_AT_ONCE = 4096  # bounds the (rows, classes) table of probabilities


class CropClassifier(FixedReference):
    """Infer the label of each crop with a classifier that was trained on crops of the other split.

    The one-model test of Kokhlikyan et al. (2024, arXiv 2504.05651). Its ``confidence`` is the negative entropy of the
    softmax over all classes, in nats. Records have no neighbours. ``configs/references/crop_classifier.yaml`` trains
    one. It is shown the crops in its own preprocessing, whatever the target takes.

    Args:
        path: its checkpoint, in Lightning's format; loaded with ``weights_only=True``.
        classifier: the module that the weights belong to, such as ``methods.Supervised``.
        logits: how crops become logits (B, num_classes): a dotted attribute path of the module, a function
            (module, crops) -> logits, or None for a module that is itself the function, such as torchvision's.
        batch_size: crops it sees at once.
        num_workers: processes that decode pictures.
        allow_unverified_split: as in :class:`~dejavu_lightning.memorization.references.checkpoint.Checkpoint`.
        preprocessing: of the pictures that it was trained on; what its checkpoint says if not given.

    Raises:
        FileNotFoundError: once it is asked, and there is no such checkpoint.
        ValueError: once it is asked, and the checkpoint does not fit, or its split is not known to be another.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from dejavu_lightning.data import ImageDataModule, Scenes
        >>> from dejavu_lightning.memorization import LabelInference, measure
        >>> data = ImageDataModule(Scenes(200), train_on="A", per_class=4, min_crop_side=8)
        >>> classifier = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
        >>> told = {**data.manifest.record("B").state(), **data.preprocessing.state()}  # by its datamodule
        >>> torch.save({"state_dict": classifier.state_dict(), "data": told}, "classifier.ckpt")
        >>> reference = CropClassifier("classifier.ckpt", classifier, logits=None)
        >>> found = measure(nn.Flatten(), LabelInference(k=5), reference, data.memorization_sets())
        >>> found.reference.ids == found.target.ids
        True
    """

    kind = "crop classifier"
    serves, served = InfersLabels, "label inference"

    def __init__(
        self,
        path: str | Path,
        classifier: nn.Module,
        logits: str | Callable[[nn.Module, Tensor], Tensor] | None = "logits",
        batch_size: int = 250,
        num_workers: int = 0,
        allow_unverified_split: bool = False,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.path, self.classifier, self.logits = Path(path), classifier, logits
        self.batch_size, self.num_workers = batch_size, num_workers
        self.allow_unverified_split, self.preprocessing = allow_unverified_split, preprocessing

    def check(self, test: MemorizationTest, sets: MemorizationSets, epochs: list[int]) -> None:
        """The weights must fit and come from a disjoint split, and its pictures must be at hand."""
        super().check(test, sets, epochs)
        self._load(sets)

    def infer(self, attack: Attack) -> ReferenceRecords:
        """What the classifier says.

        Raises:
            ValueError: the checkpoint does not fit, or the logits are not of ``num_classes``.
        """
        with failing_together():
            sets = self._load(attack.sets)
        device = attack.encoder.device if isinstance(attack.encoder, ModuleEncoder) else "cpu"
        encoder = ModuleEncoder(self.classifier.to(device), self.logits)
        held_out = sets.neither_split
        with preserve_state(self.classifier):
            return ReferenceRecords(
                self._records(encoder, sets.attack, "attack", attack),
                self._records(encoder, held_out, "held-out", attack) if held_out else None,
            )

    def _load(self, sets: MemorizationSets) -> MemorizationSets:
        """Load the weights; the sets in the classifier's own preprocessing."""
        if not self.path.is_file():
            raise FileNotFoundError(f"CropClassifier: path={str(self.path)!r} is no file")
        checkpoint = load_checkpoint(self.path, intact=True)
        if not self.allow_unverified_split:
            verify_disjoint(sets.trained_on, SplitRecord.find(checkpoint), str(self.path))
        ModuleEncoder(self.classifier, self.logits).load(checkpoint["state_dict"], str(self.path))
        own = self.preprocessing or Preprocessing.find(checkpoint)
        return sets.shown_to(f"CropClassifier: {self.path}", own)

    def _records(self, encoder: ModuleEncoder, dataset: Samples, role: str, attack: Attack) -> Records:
        found = embed(encoder, dataset, role, self.batch_size, self.num_workers)
        logits = found.gather()
        if logits.shape[1] != attack.sets.num_classes:
            raise ValueError(
                f"CropClassifier: {self.path} tells {logits.shape[1]} classes apart, the data have "
                f"{attack.sets.num_classes}"
            )
        parts = (part.double().softmax(dim=1) for part in torch.split(logits, ROWS_AT_ONCE))
        assert isinstance(attack.test, InfersLabels)
        return attack.test.records_of_probabilities(found.ids, found.labels, parts, type(self).__name__)
