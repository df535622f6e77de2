"""Stops when memorization grows faster than utility. When to use which rule: docs/guides/stopping.md."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from typing import Any

import torch
from dejavu_lightning.callbacks.epoch_curve import EpochCurve
from dejavu_lightning.callbacks.lightning.kept_checkpoints import cadences, kept_checkpoint
from dejavu_lightning.callbacks.monitor import Monitor
from dejavu_lightning.callbacks.publish import publish_metrics
from dejavu_lightning.callbacks.utility_monitor import UtilityMonitor
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from dejavu_lightning.core.decision_part import DECIDE_ON, DecisionPart
from dejavu_lightning.core.distributed import failing_together
from dejavu_lightning.core.estimate import Estimate, flatten
from dejavu_lightning.core.intervals import Floats
from dejavu_lightning.core.whole_file import whole_file
from dejavu_lightning.memorization.statistics import Terms, change
from dejavu_lightning.runs.checkpoints import BEST, load_checkpoint
from dejavu_lightning.utility import probe_metrics


class MemorizationEarlyStopping(EpochCurve):
    """Stop training when memorization grows faster than utility.

    Memorization M is weighed against utility U at every epoch t that a monitor of each measures.
    With the trade-off ``T_t = U_t - weight * M_t``, whose highest value so far was at epoch b, memorization has
    since grown faster than utility by ::

        G_t = weight * (M_t - M_b) - (U_t - U_b) = T_b - T_t >= 0

    Training stops when, at ``patience`` measurements in a row, the lower end of the 95% interval of G_t is above
    ``min_delta``; a measurement at which it is not, such as a new best (G = 0), starts the count anew.

    The interval is of paired differences: both epochs are measured on the same records and the same validation
    samples, so what they have in common cancels, which the two epochs' own intervals would count twice. It holds
    neither the noise of training nor that b was chosen by the same numbers: ``patience`` and ``min_delta`` are there
    for those.

    M and U are those of a share of the samples, told by their ids: attacked and held-out records and validation
    samples. The others judge: checkpoints of the run say which samples decided, and measurements of them leave those
    out, because the best of several epochs looks better than it is on what chose it. The curves are of all samples.

    Args:
        memorization: M, a logged key such as "memorization/score", or a monitor's name for its headline metric: its
            net value where there are held-out records.
        utility: U, a logged key of a ``UtilityMonitor``.
        weight: how much utility one unit of memorization is worth.
        patience: how many measurements in a row.
        min_delta: what the growth must surely exceed, in units of utility.
        decide_on: the share of the samples that decides, above 0 and below 1.
        restore_best: when training ends, load the weights of epoch b, from the checkpoint that a callback such as
            ``EpochCheckpoint`` keeps of every measured epoch, and copy that to ``<folder>/best.ckpt``.
        folder: where ``history.csv`` goes; ``<trainer.default_root_dir>/tradeoff`` if not given.
        name: prefix of the logged keys.

    Attributes:
        history: one row per decision, of the samples that decide; kept in checkpoints with the best measurement, so
            that a resumed run decides the same.

    Raises:
        ValueError: an argument is out of its range; the message names it.

    Example:
        >>> from dejavu_lightning.callbacks import EpochCheckpoint, MemorizationMonitor, UtilityMonitor
        >>> monitors = [MemorizationMonitor(every_n_epochs=10), UtilityMonitor(every_n_epochs=10)]
        >>> stopping = MemorizationEarlyStopping(utility="utility/knn_top1", weight=0.5, patience=2)
        >>> callbacks = [*monitors, stopping, EpochCheckpoint(every_n_epochs=10)]  # for the Trainer
    """

    def __init__(
        self,
        memorization: str = "memorization",
        utility: str = "utility/linear_top1",
        weight: float = 1.0,
        patience: int = 3,
        min_delta: float = 0.0,
        decide_on: float = DECIDE_ON,
        restore_best: bool = True,
        folder: str | None = None,
        name: str = "tradeoff",
    ) -> None:
        super().__init__(name, folder)
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        for argument, value in (("weight", weight), ("min_delta", min_delta)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{argument} must be at least 0 and finite, got {value}")
        try:
            self.part = DecisionPart(decide_on)
        except ValueError as error:
            raise ValueError(f"decide_on: {error}") from None
        self.memorization, self.utility, self.weight = memorization, utility, weight
        self.patience, self.min_delta, self.restore_best = patience, min_delta, restore_best
        self._followed: tuple[tuple[Monitor, str], ...] = ()
        self._best: list[Floats] | None = None  # what each sample's records add to the best trade-off

    @property
    def state_key(self) -> str:
        """Of another trade-off the state would mean nothing."""
        return self._generate_state_key(
            name=self.name,
            memorization=self.memorization,
            utility=self.utility,
            weight=self.weight,
            decide_on=self.part.share,
        )

    def state_dict(self) -> dict[str, Any]:
        """The decisions so far and the best measurement."""
        return super().state_dict() | {
            "best": None if self._best is None else [torch.from_numpy(added) for added in self._best]
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue to decide."""
        super().load_state_dict(state_dict)
        best = state_dict["best"]
        self._best = None if best is None else [added.numpy() for added in best]

    def reset(self) -> None:
        """Forget the decisions and the best measurement."""
        super().reset()
        self._best = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say which samples decide, so that they do not judge."""
        self.part.store(checkpoint)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find both monitors, and fail now if a metric or a checkpoint would be missing later."""
        self._followed = tuple(self._find(trainer, argument) for argument in ("memorization", "utility"))
        for monitor, _ in self._followed:
            if self._follow not in monitor.followers:
                monitor.followers.append(self._follow)
        if self.restore_best:
            self._check_checkpoints(trainer)
        self.choose_folder(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that was interrupted after it was told to stop does not train on."""
        trainer.should_stop = trainer.should_stop or self._stops(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the best weights, after the checkpoints of the last ones are written."""
        if not self.restore_best or not self.history:
            return
        best, restored = int(self.history[-1]["best_epoch"]), self.output(trainer) / BEST
        file = trainer.strategy.broadcast(kept_checkpoint(trainer, best) if trainer.is_global_zero else None)
        if best == trainer.current_epoch:
            if file is None:
                trainer.save_checkpoint(restored, weights_only=False)
        elif file is None:
            raise FileNotFoundError(f"MemorizationEarlyStopping: there is no checkpoint of epoch {best} to restore")
        else:
            with failing_together():
                pl_module.load_state_dict(load_checkpoint(file, intact=True)["state_dict"], strict=True)
        if file is not None and trainer.is_global_zero:
            with whole_file(restored) as partial:
                shutil.copyfile(file, partial)
        rank_zero_info(f"{self.name}: the weights are those of epoch {best}, the best trade-off; {restored}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let go of the monitors."""
        for monitor, _ in self._followed:
            if self._follow in monitor.followers:
                monitor.followers.remove(self._follow)
        self._followed = ()

    def _follow(self, trainer: Trainer) -> None:
        """Decide, once both monitors have measured the same epoch; all ranks have the same numbers."""
        (first, _), (second, _) = self._followed
        epochs = {monitor.history[-1]["epoch"] if monitor.history else None for monitor in (first, second)}
        epoch = epochs.pop()
        if epochs or epoch is None or self.measured(int(epoch)):
            return
        if any(monitor.latest["epoch"] != epoch for monitor in (first, second)):  # a measurement is missing
            return
        weighed = []
        for monitor, metric in self._followed:
            metric = metric or monitor.headline
            if metric not in monitor.terms:
                raise ValueError(
                    f"MemorizationEarlyStopping: {metric!r} is no metric of {monitor.name!r} that its records add up "
                    f"to; choose from {', '.join(f'{monitor.name}/{name}' for name in monitor.terms)}"
                )
            weighed.append([self._deciding(terms, f"{monitor.name}/{metric}") for terms in monitor.terms[metric]])
        self._decide(epoch, *weighed)
        row = self.history[-1]
        if trainer.is_global_zero:
            publish_metrics(trainer.loggers, self.name, row, trainer.global_step)
            with self.writing(trainer):
                self.save_history(trainer)
        if self._stops(trainer):
            surely = f"{row['growth']:+.3f} [{row['growth_low']:+.3f}, {row['growth_high']:+.3f}]"
            rank_zero_info(
                f"{self.name}: stopping after epoch {epoch:.0f}; since epoch {row['best_epoch']:.0f} {self.weight:g} * "
                f"{self.memorization} grew by {surely} more than {self.utility}, surely above {self.min_delta:g} at "
                f"{row['waited']:.0f} measurements in a row"
            )
            trainer.should_stop = True

    def _deciding(self, terms: Terms, key: str) -> Floats:
        """What the samples that decide add."""
        found = terms.values[self.part.decides(terms.ids)]
        if not len(found):
            raise ValueError(
                f"MemorizationEarlyStopping: of the {len(terms.ids)} samples of {key} none decides with "
                f"decide_on={self.part.share:g}; raise it, or measure on more of them"
            )
        return found

    def _decide(self, epoch: float, memorized: Sequence[Floats], useful: Sequence[Floats]) -> None:
        """Add a row to the history, of what the deciding records of each sample add to M and to U."""
        memorization, utility = (math.fsum(float(each.mean()) for each in parts) for parts in (memorized, useful))
        added = [*(-self.weight * each for each in memorized), *useful]
        value = utility - self.weight * memorization
        best = next((row for row in self.history if row["epoch"] == self.history[-1]["best_epoch"]), None)
        if best is None or self._best is None or value > best["value"]:
            self._best, best_epoch, growth, waited = added, epoch, Estimate(0.0, 0.0, 0.0), 0.0
        else:
            best_epoch, growth = best["epoch"], change(added, self._best)
            waited = self.history[-1]["waited"] + 1 if (growth.low or 0.0) > self.min_delta else 0.0
        self.history.append(
            {
                "epoch": epoch,
                "memorization": memorization,
                "utility": utility,
                "value": value,
                "best_epoch": best_epoch,
                **flatten({"growth": growth}),
                "waited": waited,
                "deciding_records": float(sum(map(len, memorized))),
                "deciding_samples": float(sum(map(len, useful))),
            }
        )

    def _stops(self, trainer: Trainer) -> bool:
        row = self.history[-1] if self.history else None
        enough = row is not None and row["waited"] >= self.patience and row["epoch"] >= (trainer.min_epochs or 0)
        return bool(trainer.strategy.reduce_boolean_decision(enough, all=False))

    def _find(self, trainer: Trainer, argument: str) -> tuple[Monitor, str]:
        """The monitor that an argument names, and its metric."""
        key: str = getattr(self, argument)
        monitors = [callback for callback in trainer.callbacks if isinstance(callback, Monitor)]  # type: ignore[attr-defined]
        found = [monitor for monitor in monitors if key == monitor.name or key.startswith(f"{monitor.name}/")]
        if not found:
            names = ", ".join(repr(monitor.name) for monitor in monitors) or "none"
            raise ValueError(
                f"MemorizationEarlyStopping: {argument}={key!r} is of no monitor among the trainer's callbacks, whose "
                f"names are: {names}. Add a {argument.capitalize()}Monitor, or name a key as <name>/<metric>"
            )
        monitor, metric = found[0], key.removeprefix(found[0].name).removeprefix("/")
        known = probe_metrics(monitor.probes) if isinstance(monitor, UtilityMonitor) else [metric]
        if metric.partition("/")[0] not in known:
            raise ValueError(
                f"MemorizationEarlyStopping: {argument}={key!r} is no metric of {monitor.name!r}; choose from "
                f"{', '.join(f'{monitor.name}/{name}' for name in known if name) or f'{monitor.name}/<metric>'}"
            )
        return monitor, metric

    def _check_checkpoints(self, trainer: Trainer) -> None:
        every = math.lcm(*(monitor.every_n_epochs for monitor, _ in self._followed))
        kept = cadences(trainer)
        decides = not 0 <= (trainer.max_epochs or -1) <= every  # the last epoch is in memory
        if decides and not any(every % cadence == 0 for cadence in kept.values()):
            listed = ", ".join(f"{name} every {cadence}" for name, cadence in kept.items()) or "nothing"
            raise ValueError(
                f"MemorizationEarlyStopping: restore_best=True needs a checkpoint of every epoch that both monitors "
                f"measure, every {every} epochs, but what is kept of the trainer's checkpoints is: {listed}. Add "
                f"EpochCheckpoint(every_n_epochs={every}), or a ModelCheckpoint with save_top_k=-1, or set "
                "restore_best=False"
            )
        best = int(self.history[-1]["best_epoch"]) if self.history else None
        if best is not None and kept_checkpoint(trainer, best) is None:
            folders = ", ".join(str(getattr(saver, "dirpath", None)) for saver in trainer.checkpoint_callbacks)
            raise FileNotFoundError(
                f"MemorizationEarlyStopping: the best trade-off so far was at epoch {best}, whose checkpoint is not "
                f"in {folders or 'any folder'}; put it back, or set restore_best=False"
            )
