"""Procedural scenes: labelled objects on backgrounds whose correlation with the label is a dial.

Nothing is downloaded, and every scene depends on ``(seed, index)`` alone: the first 100 scenes of a
set of 10 000 are the scenes of a set of 100. These pictures are made to be easy to memorize; they
demonstrate the tests and say nothing about the scale of memorization in natural images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SHAPES = ("disk", "ring", "square", "frame", "diamond", "triangle", "cross", "saltire", "stripes", "checker")

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Objects:
    """One object on each of n canvases; coordinates in pixels.

    ``shape`` (n,) indexes :data:`SHAPES`; ``hue`` (n,) in [0, 1); ``x0``, ``y0``, ``side`` (n,) integers.
    """

    shape: NDArray[np.int64]
    hue: Array
    x0: NDArray[np.int64]
    y0: NDArray[np.int64]
    side: NDArray[np.int64]

    @property
    def boxes(self) -> NDArray[np.int64]:
        """(n, 4) as x0, y0, x1, y1, with exclusive ends."""
        return np.stack([self.x0, self.y0, self.x0 + self.side, self.y0 + self.side], axis=1)


def hsv_to_rgb(hue: Array, saturation: Array, value: Array) -> Array:
    """(...,) each in [0, 1], hue periodic -> (..., 3) in [0, 1]."""
    offsets = np.array([5.0, 3.0, 1.0], dtype=np.float32)
    k = (offsets + 6 * hue[..., None]) % 6
    ramp = np.clip(np.minimum(k, 4 - k), 0, 1)
    return np.asarray(value[..., None] * (1 - saturation[..., None] * ramp), dtype=np.float32)


def shape_mask(shape: NDArray[np.int64], u: Array, v: Array) -> NDArray[np.bool_]:
    """Which pixels belong to the shape; u, v (n, H, W) run over [-1, 1] inside the object's box."""
    radius, across = np.hypot(u, v), np.maximum(np.abs(u), np.abs(v))
    diamond = np.abs(u) + np.abs(v)
    stripe = np.floor((v + 1) * 2.5) % 2 == 0
    masks = [
        radius < 0.9,
        (radius < 0.9) & (radius > 0.5),
        across < 0.8,
        (across < 0.85) & (across > 0.5),
        diamond < 0.95,
        (v < 0.8) & (v > 2 * np.abs(u) - 0.9),
        (np.minimum(np.abs(u), np.abs(v)) < 0.28) & (across < 0.9),
        (np.abs(np.abs(u) - np.abs(v)) < 0.35) & (across < 0.85),
        (across < 0.85) & stripe,
        (across < 0.85) & ((u > 0) == (v > 0)),
    ]
    return np.choose(shape[:, None, None], masks)


def paint(canvas: Array, objects: Objects) -> None:
    """Paint one object, on its dark plate, on each canvas in place; canvas (n, 3, H, W) in [0, 1].

    Scenes with several objects are painted by several calls.
    """
    _, _, height, width = canvas.shape
    y, x = np.mgrid[:height, :width]
    left, top, side = (a[:, None, None] for a in (objects.x0, objects.y0, objects.side))
    inside = (x >= left) & (x < left + side) & (y >= top) & (y < top + side)  # n, H, W
    u = ((2 * (x - left) + 1) / side - 1).astype(np.float32)
    v = ((2 * (y - top) + 1) / side - 1).astype(np.float32)
    mask = inside & shape_mask(objects.shape, u, v)
    one = np.ones_like(objects.hue)
    rgb = hsv_to_rgb(objects.hue, 0.9 * one, one)[:, :, None, None]  # n, 3, 1, 1
    np.copyto(canvas, 0.1, where=inside[:, None])
    np.copyto(canvas, rgb, where=mask[:, None])


def backgrounds(first: Array, second: Array, uniform: Array, noise: Array, amplitude: float) -> Array:
    """A sinusoid between two colours, plus pixel noise.

    first, second (n, 3) in [0, 1]; uniform (n, 4) in [0, 1) sets orientation, frequency, phase and
    sharpness; noise (n, 3, H, W) is standard normal; colours are contracted to 0.5 ± amplitude / 2.
    Returns (n, 3, H, W).
    """
    size = noise.shape[-1]
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    angle, frequency, phase, sharpness = (uniform[:, i, None, None] for i in range(4))
    along = np.cos(np.pi * angle) * x + np.sin(np.pi * angle) * y  # n, H, W
    wave = np.sin(2 * np.pi * ((1 + 3 * frequency) * along + phase))
    blend = 0.5 + 0.5 * np.tanh((1 + 4 * sharpness) * wave)[:, None]  # n, 1, H, W
    colour = first[:, :, None, None] * blend + second[:, :, None, None] * (1 - blend)
    return np.asarray(0.5 + amplitude * (colour - 0.5) + 0.02 * noise, dtype=np.float32)


class Scenes:
    """Single-object scenes: ten shapes, each with its own hue, on random backgrounds.

    With probability ``rho`` the first background colour is drawn near the prototype hue of the
    scene's own class, otherwise near that of a uniformly drawn class. ``rho`` is thereby exactly the
    correlation (Cramér's V) between label and background prototype: 0 leaves nothing to infer from a
    background, 1 gives the label away without any memorization.

    Args:
        num_images: how many scenes; labels cycle through the classes, so they are balanced.
        image_size: side in pixels.
        rho: dataset-level correlation, in [0, 1].
        amplitude: contrast of the background, in (0, 1].
        seed: the same seed paints the same scenes.

    Raises:
        ValueError: an argument is out of its range; the message names it.

    Example:
        >>> scenes = Scenes(num_images=20)
        >>> scenes.image(0).shape, scenes.class_names[int(scenes.labels[0])], scenes.boxes[0].shape
        (torch.Size([3, 32, 32]), 'disk', (1, 4))
    """

    def __init__(
        self, num_images: int = 3600, image_size: int = 32, rho: float = 0.3, amplitude: float = 0.4, seed: int = 0
    ) -> None:
        if not 0 <= rho <= 1:
            raise ValueError(f"rho must lie in [0, 1], got {rho}")
        if not 0 < amplitude <= 1:
            raise ValueError(f"amplitude must lie in (0, 1], got {amplitude}")
        if num_images < 1 or image_size < 16:
            raise ValueError(f"num_images must be >= 1 and image_size >= 16, got {num_images} and {image_size}")
        self.class_names: Sequence[str] = SHAPES
        self.ids = [f"scene-{index:06d}" for index in range(num_images)]
        self.labels = torch.arange(num_images) % len(SHAPES)
        classes, labels = len(SHAPES), self.labels.numpy()
        uniform = np.random.default_rng([seed, 0]).random((num_images, 16), dtype=np.float32)
        normal = np.random.default_rng([seed, 1]).standard_normal((num_images, 2), dtype=np.float32)

        other = np.minimum((uniform[:, 0] * classes).astype(np.int64), classes - 1)
        self.background_class = torch.from_numpy(np.where(uniform[:, 1] < rho, labels, other))
        prototype = (self.background_class.numpy() + 0.5) / classes
        hue = (prototype + 0.03 * normal[:, 0]).astype(np.float32)
        first = hsv_to_rgb(hue, 0.5 + 0.5 * uniform[:, 2], 0.5 + 0.5 * uniform[:, 3])
        second = hsv_to_rgb(uniform[:, 4], uniform[:, 5], uniform[:, 6])

        side = np.round(image_size * (0.35 + 0.15 * uniform[:, 11])).astype(np.int64)
        room = image_size - side + 1
        objects = Objects(
            shape=labels,
            hue=(labels / classes + 0.02 * normal[:, 1]).astype(np.float32) % 1,
            x0=np.minimum((uniform[:, 12] * room).astype(np.int64), room - 1),
            y0=np.minimum((uniform[:, 13] * room).astype(np.int64), room - 1),
            side=side,
        )
        self.sizes = np.full((num_images, 2), image_size)
        self.boxes = list(objects.boxes[:, None])
        noise_stream = np.random.default_rng([seed, 2])
        self._images = torch.empty(num_images, 3, image_size, image_size, dtype=torch.uint8)
        for start in range(0, num_images, 1024):  # bounds the float scratch, whatever the set's size
            rows = slice(start, min(start + 1024, num_images))
            count = rows.stop - start
            noise = noise_stream.standard_normal((count, 3, image_size, image_size), dtype=np.float32)
            canvas = backgrounds(first[rows], second[rows], uniform[rows, 7:11], noise, amplitude)
            paint(canvas, Objects(*(value[rows] for value in vars(objects).values())))
            self._images[rows] = torch.from_numpy(np.round(canvas.clip(0, 1) * 255).astype(np.uint8))

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, index: int) -> Tensor:
        """Scene ``index``: uint8 (3, image_size, image_size)."""
        return self._images[index]
