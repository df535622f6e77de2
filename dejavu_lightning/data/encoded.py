"""Pictures that are bytes in memory, as :mod:`~dejavu_lightning.data.decode` treats those that are files."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

from dejavu_lightning.data.decode import BY_TORCHVISION, FORMATS, _header, _turn

ERRORS = (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError)


def is_picture(data: bytes) -> bool:
    """Whether the header is that of a known format; pixels are not decoded, so a truncated picture passes."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS):
            return True
    except ERRORS:
        return False


def decode_bytes(data: bytes, name: str) -> Tensor:
    """Decode a picture to upright uint8 RGB (3, H, W), as :func:`~dejavu_lightning.data.decode.decode` does a file.

    Args:
        name: what errors call it.

    Raises:
        ValueError: it is truncated, or no picture of a known format.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            header = _header(picture)
            animated = picture.format == "WEBP" and getattr(picture, "is_animated", False)
            if picture.format in BY_TORCHVISION and not animated:
                encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
                pixels: Tensor = decode_image(encoded, ImageReadMode.RGB)
            else:
                pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    except ERRORS as error:
        raise ValueError(f"{name} cannot be decoded: {error}") from error
    if pixels.dtype == torch.uint16:
        pixels = (pixels.to(torch.int32) >> 8).to(torch.uint8)
    return _turn(pixels, header.orientation)
