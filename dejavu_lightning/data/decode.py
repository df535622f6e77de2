"""From a file to upright RGB pixels, and what its header says without decoding it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
# MPO: a JPEG with further pictures behind it. Not PNG: torchvision 0.29 ends the process on a damaged one.
BY_TORCHVISION = frozenset({"JPEG", "MPO", "WEBP"})
ORIENTATION_TAG = 0x0112
# An EXIF orientation as what turns stored pixels upright: first swap the axes, then mirror.
SWAPS_AXES = frozenset({5, 6, 7, 8})
MIRRORS_X = frozenset({2, 3, 6, 7})
MIRRORS_Y = frozenset({3, 4, 7, 8})
ERRORS = (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError)  # of damaged pictures


class Header(NamedTuple):
    """What a picture's file says of itself.

    Attributes:
        width, height: of the stored pixels.
        orientation: EXIF, 1 to 8; 1 is upright.
        mode: PIL's name of the stored pixels, such as RGB, L (gray), P (palette) or CMYK.
    """

    width: int
    height: int
    orientation: int
    mode: str

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height of what :func:`decode` gives."""
        return (self.height, self.width) if self.orientation in SWAPS_AXES else (self.width, self.height)


def read_header(path: str | Path) -> Header:
    """Size, orientation and mode of a picture, without decoding its pixels.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no picture of a known format; the message names it.
    """
    with open(path, "rb") as file:
        try:
            with Image.open(file, formats=FORMATS) as picture:
                return _header(picture)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path} cannot be read as one of {list(FORMATS)}: {error}") from error


def is_picture(data: bytes) -> bool:
    """Whether the header is that of a known format; pixels are not decoded, so a truncated picture passes."""
    try:
        with Image.open(BytesIO(data), formats=FORMATS):
            return True
    except ERRORS:
        return False


def decode(path: str | Path, upright: bool = True) -> Tensor:
    """Decode a picture to uint8 RGB (3, H, W). The format is told by the content, not by the file's name.

    Gray and palette pictures become RGB, CMYK is taken as Adobe writes it, transparency is dropped, 16 bits
    lose the lower 8, colour profiles are ignored, and of an animation the first frame is taken.

    Args:
        upright: turn the picture as its EXIF orientation says; otherwise give the pixels as they are stored.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is truncated, or no picture of a known format; the message names it. A JPEG cut short
            and properly ended again is indistinguishable from a whole one to the decoders, and passes.
    """
    return decode_bytes(Path(path).read_bytes(), str(path), upright)


def decode_bytes(data: bytes, name: str, upright: bool = True) -> Tensor:
    """Decode a picture held in memory, as :func:`decode` does a file.

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
                pixels = torch.from_numpy(_rgb(picture, data)).permute(2, 0, 1)
    except ERRORS as error:
        raise ValueError(f"{name} cannot be decoded: {error}") from error
    return _turn(pixels, header.orientation) if upright else pixels


def decode_identified(path: Path, identifier: str, upright: bool = True, remedy: str = "Repair it") -> Tensor:
    """Decode a picture that has an id, which errors name.

    Args:
        remedy: what to do about one that cannot be decoded.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded.
    """
    try:
        return decode(path, upright)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} (id {identifier!r}) does not exist") from error
    except ValueError as error:
        raise ValueError(f"id {identifier!r}: {error}. {remedy}") from error


def orient_boxes(boxes: NDArray[Any], width: int, height: int, orientation: int) -> NDArray[Any]:
    """Turn boxes as :func:`decode` turns the picture.

    Args:
        boxes: (n, 4) x0, y0, x1, y1 in stored pixels, ends exclusive.
        width, height: of the stored pixels.
        orientation: EXIF, 1 to 8.

    Returns:
        (n, 4) in upright pixels.
    """
    x0, y0, x1, y1 = boxes.T
    if orientation in SWAPS_AXES:
        x0, y0, x1, y1, width, height = y0, x0, y1, x1, height, width
    if orientation in MIRRORS_X:
        x0, x1 = width - x1, width - x0
    if orientation in MIRRORS_Y:
        y0, y1 = height - y1, height - y0
    return np.stack([x0, y0, x1, y1], axis=1)


def _rgb(picture: Image.Image, data: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) as PIL decodes them; of a PNG the checksums are compared first, which PIL passes over."""
    if picture.format == "PNG":
        with Image.open(BytesIO(data), formats=("PNG",)) as again:
            again.verify()
    if picture.mode.startswith("I"):  # 16 bits of gray
        high = (np.array(picture) >> 8).astype(np.uint8)
        return np.stack([high] * 3, axis=2)
    picture.info.pop("transparency", None)
    return np.array(picture.convert("RGB"))


def _turn(pixels: Tensor, orientation: int) -> Tensor:
    if orientation in SWAPS_AXES:
        pixels = pixels.transpose(1, 2)
    mirrored = [axis for axis, group in ((2, MIRRORS_X), (1, MIRRORS_Y)) if orientation in group]
    return pixels.flip(mirrored) if mirrored else pixels


def _header(picture: Image.Image) -> Header:
    orientation: object = 1
    if stored := picture.info.get("exif"):  # getexif() would decode a whole PNG in search of a late chunk
        exif = Image.Exif()
        try:
            exif.load(stored)
            orientation = exif.get(ORIENTATION_TAG, 1)
        except (OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError):
            orientation = 1  # cameras write broken EXIF around sound pixels
    if not isinstance(orientation, int) or not 1 <= orientation <= 8:
        orientation = 1
    return Header(*picture.size, orientation, picture.mode)
