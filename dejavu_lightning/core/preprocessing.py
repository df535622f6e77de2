"""How pictures are made into what an encoder takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from PIL import Image

# It gives a Tensor; of a callable with a class for its return type jsonargparse would want that class.
PictureTransform: TypeAlias = Callable[[Image.Image], Any]
Interpolation = Literal["bilinear", "bicubic"]
ResizeMode = Literal["shortest", "longest", "squash"]
KEY = "preprocessing"


@dataclass(frozen=True)
class Preprocessing:
    """Side, normalisation and resizing of the pictures that an encoder is shown.

    Args:
        image_size: side of the square in pixels.
        mean, std: per channel, of pixel values in [0, 1]; ImageNet's if not given.
        interpolation: of resizing: "bilinear" or "bicubic".
        resize_mode: how whole captioned pictures become square, see ``ImageTextDataModule``; the data's own if not
            given. Labelled pictures and background crops are always squeezed, so that all of them is seen.

    Raises:
        ValueError: an argument is out of its range; the message names it.

    Example:
        >>> print(Preprocessing(224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic"))
        224 pixels, bicubic, mean 0.5, 0.5, 0.5, std 0.5, 0.5, 0.5
    """

    image_size: int
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: Interpolation = "bilinear"
    resize_mode: ResizeMode | None = None

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise ValueError(f"image_size must be at least 1 pixel, got {self.image_size}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean and std need 3 values, those of std above 0; got {self.mean} and {self.std}")
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(f"interpolation must be one of {get_args(Interpolation)}, got {self.interpolation!r}")
        if self.resize_mode is not None and self.resize_mode not in get_args(ResizeMode):
            raise ValueError(f"resize_mode must be one of {get_args(ResizeMode)}, got {self.resize_mode!r}")

    def state(self) -> dict[str, Any]:
        """As a checkpoint stores it."""
        return {KEY: asdict(self)}

    @classmethod
    def find(cls, checkpoint: Mapping[str, Any]) -> Preprocessing | None:
        """What a datamodule or a callback left in a checkpoint of the pictures it was trained for, if any did."""
        for state in checkpoint.values():
            if isinstance(state, dict) and isinstance(found := state.get(KEY), dict):
                return cls(**{**found, "mean": tuple(found["mean"]), "std": tuple(found["std"])})
        return None

    def __str__(self) -> str:
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"{self.image_size} pixels, {self.interpolation}, mean {mean}, std {std}"


Shown: TypeAlias = Preprocessing | PictureTransform  # how pictures are made into what an encoder takes


def known(shown: Shown | None) -> Preprocessing | None:
    """What of a transform can be told; of a host's own nothing."""
    return shown if isinstance(shown, Preprocessing) else None
