"""Where the files of a training, of a pair of trainings, and of a study of pairs lie."""

from __future__ import annotations

from pathlib import Path

from dejavu_lightning.core.decision_part import DecisionPart
from dejavu_lightning.runs.checkpoints import (
    BEST,
    LAST,
    REQUEUED,
    checkpoint_names,
    checkpoints_by_epoch,
    completed_epochs,
    epoch_checkpoint,
    load_checkpoint,
)
from dejavu_lightning.runs.history import HISTORY, read_history
from dejavu_lightning.runs.measurement_folder import METRICS, left_out_part, read_metrics

CONFIG = "config.yaml"
SHEET = "doctor.png"  # where ``doctor`` draws records, if nothing else is said


class RunFolder:
    """What ``fit`` leaves.

    Besides it the data leave ``splits.parquet``, and loggers what is theirs.

    Args:
        path: of the folder.

    Attributes:
        checkpoints: folder of the checkpoints of ``EpochCheckpoint``, and of nobody else's.
        user_checkpoints: folder that ``fit`` gives to every other callback that saves and names none.
        last: the checkpoint that a stopped run resumes from.
        memorization, utility: folders of the monitors, each with a ``history.csv``.
        finished: an empty file, which ``pair`` leaves behind a training.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoints = self.path / "checkpoints"
        self.user_checkpoints = self.path / "user_checkpoints"
        self.last = self.checkpoints / LAST
        self.memorization, self.utility = self.path / "memorization", self.path / "utility"
        self.finished = self.path / "finished"

    @property
    def trained(self) -> bool:
        """Whether there are weights, of a requeued run too."""
        return bool(self.checkpoint_names) or any(self.path.glob(REQUEUED))

    @property
    def checkpoint_names(self) -> list[str]:
        """File names of the checkpoints, in order."""
        return checkpoint_names(self.checkpoints)

    def resumable(self) -> Path | None:
        """What a stopped run goes on from: ``last.ckpt``, before there is one the latest epoch; None if nothing is."""
        if self.last.is_file():
            return self.last
        kept = checkpoints_by_epoch(self.checkpoints)
        return kept[max(kept)] if kept else None

    def ended(self) -> int | None:
        """The last whole epoch of which there is a checkpoint, as the files tell; None where there is none."""
        epoch = completed_epochs(load_checkpoint(self.last)) if self.last.is_file() else None
        return max(checkpoints_by_epoch(self.checkpoints), default=None) if epoch is None else epoch

    def checkpoint_after(self, epoch: int) -> Path | None:
        """The checkpoint after so many epochs, as the files tell; None where there is none."""
        for file in (self.last, epoch_checkpoint(self.checkpoints, epoch)):
            if file.is_file() and completed_epochs(load_checkpoint(file)) == epoch:
                return file
        return None

    def requeued_checkpoint(self) -> Path | None:
        """The newest checkpoint of a run that its cluster requeued before; None if it did not.

        Left to itself, Lightning would take the one of the requeueing even where the run got further since.
        """
        requeued = list(self.path.glob(REQUEUED))
        if not requeued:
            return None
        last = [self.last] if self.last.is_file() else []
        return max(requeued + last, key=lambda file: file.stat().st_mtime_ns)

    def restored_epoch(self) -> int | None:
        """The epoch whose weights ``MemorizationEarlyStopping`` restored, None where none did."""
        for best in self.path.glob(f"*/{BEST}"):
            history = read_history(best.parent)
            # Another callback may call its best so as well.
            if best.parent == self.user_checkpoints or (history and "best_epoch" not in history[-1]):
                continue
            if not history:
                if DecisionPart.find(load_checkpoint(best)) is None:
                    continue
                raise ValueError(f"{best} lies beside no {HISTORY}, which tells its epoch; put it back or remove both")
            return int(history[-1]["best_epoch"])
        return None

    def keep_metrics(self) -> None:
        """Lightning's CSV logger starts its file anew; keep what was logged before the run was resumed."""
        metrics = self.path / "metrics.csv"
        if metrics.is_file():
            earlier = len(list(self.path.glob("metrics.*.csv")))
            metrics.rename(self.path / f"metrics.{earlier}.csv")


class PairFolder:
    """What ``pair`` leaves, on its own or as a run of a study.

    Args:
        path: of the folder.

    Attributes:
        target, reference: both trainings.
        comparison: folder of the final measurement.
        lock: held by the process that continues the pair.
        wandb_group: what W&B calls the pair.
        log: what the processes of a study's run print.
        record: how a study started the run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.target, self.reference = self.run("target"), self.run("reference")
        self.comparison = self.path / "comparison"
        self.lock, self.wandb_group = self.path / ".lock", self.path / "wandb_group"
        self.log, self.record = self.path / "log.txt", self.path / "run.json"

    def run(self, role: str) -> RunFolder:
        """The training of "target" or "reference"."""
        return RunFolder(self.path / role)

    @property
    def finished(self) -> bool:
        """Both models are trained and compared."""
        return (self.comparison / METRICS).is_file()

    def compared(self, leave_out: float | None) -> bool:
        """Whether they are compared on the samples that are asked for.

        Args:
            leave_out: the share of samples that is left out, 0 for none; None takes whatever was measured.
        """
        if leave_out is None or not self.finished:
            return self.finished
        part = left_out_part(read_metrics(self.comparison))
        return leave_out == (0 if part is None else part.share)

    @property
    def trained(self) -> bool:
        """Whether there are weights of either model."""
        return self.target.trained or self.reference.trained

    @property
    def blocked(self) -> bool:
        """Whether a new pair would mix with what is there: more than a pair leaves that failed before it trained."""
        if not self.path.is_dir():
            return self.path.exists()
        own = {path.name for path in (self.target.path, self.reference.path, self.lock, self.wandb_group)}
        return self.trained or any(path.name not in own for path in self.path.iterdir())


class StudyFolder:
    """What ``study`` leaves.

    Args:
        path: of the folder.

    Attributes:
        facts: ``study.json``: what was studied, and its runs.
        table, report: what was found.
        ranking: the variants by the memorization that each removes for a point of utility lost.
        submitit: folder of the cluster's scripts, logs and results.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.facts = self.path / "study.json"
        self.table, self.report = self.path / "table.csv", self.path / "report.html"
        self.ranking = self.path / "ranking.csv"
        self.submitit = self.path / "submitit"

    def curve(self, setting: str) -> Path:
        """Picture of the variants against a setting."""
        return self.path / f"{setting}.png"

    def run(self, variant: str, seed: int) -> Path:
        """Folder of the pair of a variant with a seed."""
        return self.path / variant / f"seed={seed}"


def config_above(checkpoint: Path) -> Path | None:
    """The config of the run that a checkpoint is of: the nearest in the folders above it, None if there is none."""
    nearby = [folder / CONFIG for folder in checkpoint.resolve().parents]
    return next((candidate for candidate in nearby if candidate.is_file()), None)
