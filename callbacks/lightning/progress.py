"""One bar for the whole run."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm.auto import tqdm

from dejavu_lightning.core.progress.progress_display import LINES, Line, chosen_way


class EpochProgressBar(ProgressBar):
    """Show one progress bar of the whole run, which counts epochs, with the latest metrics.

    For runs of many short epochs; long epochs are better served by Lightning's own bars. In a log, a line now and then.

    Args:
        description: what stands before the bar; the training split if the datamodule names one.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[EpochProgressBar("target")], logger=False, accelerator="cpu")
        >>> trainer.progress_bar_callback.description
        'target'
    """

    def __init__(self, description: str | None = None) -> None:
        super().__init__()
        self.description = description
        self._bar: tqdm[Any] | None = None
        self._line: Line | None = None
        self._enabled = True

    def disable(self) -> None:
        """Lightning calls this on all ranks but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Lightning calls this when progress is wanted."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar where training starts or resumes."""
        split = getattr(getattr(trainer, "datamodule", None), "train_on", None)
        label = self.description or (f"training on split {split}" if split else "training")
        way = chosen_way() if self._enabled else "none"
        if way == "lines":
            self._line = Line(LINES, label, trainer.max_epochs, "epoch", trainer.current_epoch)
        elif way == "bars":
            self._bar = tqdm(
                total=trainer.max_epochs,
                initial=trainer.current_epoch,
                desc=label,
                unit="epoch",
                dynamic_ncols=True,
                mininterval=0.5,
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Advance by one epoch."""
        if self._bar is not None:
            self._bar.set_postfix(self._shown(trainer, pl_module), refresh=False)
            self._bar.update()
        elif self._line is not None:
            shown = self._shown(trainer, pl_module)
            self._line.advance(1, ", ".join(f"{name}={value}" for name, value in shown.items()))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the finished bar on the screen."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Do not let an error message share the bar's line."""
        self._close()

    def _shown(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, str]:
        metrics = self.get_metrics(trainer, pl_module)
        return {
            name.rpartition("/")[2]: f"{float(value):.3g}"
            for name, value in metrics.items()
            if name != "v_num" and isinstance(value, (int, float))
        }

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._line = None
