"""TensorBoard: numbers and figures; it holds no files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from dejavu_lightning.callbacks.loggers.logger_adapter import LoggerAdapter
from PIL import Image


class TensorBoardAdapter(LoggerAdapter):
    """Images with a slider of steps."""

    kind, shows_images = "TensorBoardLogger", True

    def figures(self, files: Mapping[str, Path], epoch: int, step: int) -> None:
        """Images."""
        for name, file in files.items():
            pixels = np.asarray(Image.open(file).convert("RGB"))
            self.logger.experiment.add_image(f"{self.name}/{name}", pixels, step, dataformats="HWC")
