"""Procedural scenes with several objects, and captions that name only some of them.

Like :mod:`~dejavu_lightning.data.sources.scenes` they are made to be easy to memorize and say nothing about natural
images; every scene depends on ``(seed, index)`` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dejavu_lightning.data.sources.scenes import SHAPES, Objects, backgrounds, hsv_to_rgb, paint

HUES = 3
# A name for each shape in red, green and blue: one token of CLIP's vocabulary each, so that masking hides all of it.
NAMES = {
    "disk": ("cherry", "lime", "globe"),
    "ring": ("bangle", "wreath", "hoop"),
    "square": ("brick", "hedge", "tile"),
    "frame": ("window", "gate", "mirror"),
    "diamond": ("ruby", "emerald", "sapphire"),
    "triangle": ("tent", "pine", "sail"),
    "cross": ("medic", "flower", "compass"),
    "saltire": ("ribbon", "windmill", "propeller"),
}
OBJECTS = tuple(name for shape in SHAPES[: len(NAMES)] for name in NAMES[shape])
QUADRANTS = 4
MOST_CAPTIONS = 5  # of a scene, as COCO has
BLOCK = 1024
# They say nothing about a scene and make captions nearly unique, as file names and dates do in captions of the web.
LIST_OF_WORDS = """
amber anchor april arcade atlas autumn bakery balcony banjo barley beacon birch bridge canal candle canyon cedar
cello chapel cinema clover cobalt copper coral cotton dawn delta desert ember falcon fern ferry forest garden ginger
granite harbor harvest hazel island ivory jasmine juniper lantern lemon maple marble meadow monday nickel november
olive orchard pepper plaza saffron sunday timber velvet winter
"""
WORDS = tuple(LIST_OF_WORDS.split())


class ObjectScenes:
    """Scenes of some distinct objects of 24 (eight shapes in three colours), a caption naming the first ``named``.

    Each kind has an invented one-word name, and each caption ends in a word that says nothing: a red disk and two
    other objects may be captioned "cherry april". Further captions, which ``data.caption_sampling`` trains on, name
    others of its objects or the same, and end in other words.

    Args:
        num_images: how many scenes.
        image_size: side in pixels.
        objects: distinct objects of each scene, one a quadrant, in [1, 4].
        named: how many of them the caption names, in [1, objects].
        captions_per_scene: in [1, 5]; the first is the scene's own, which the tests ask with, whatever the number.
        amplitude: contrast of the background, in (0, 1].
        seed: the same seed paints the same scenes.
        prefix: of the ids, to tell two sources of scenes apart.

    Raises:
        ValueError: an argument is out of its range; the message names it.

    Example:
        >>> scenes = ObjectScenes(num_images=20)
        >>> scenes.captions[0], [scenes.object_names[o] for o in scenes.objects[0]]
        ('propeller maple', ['hoop', 'hedge', 'propeller'])
    """

    def __init__(
        self,
        num_images: int = 3000,
        image_size: int = 48,
        objects: int = 3,
        named: int = 1,
        captions_per_scene: int = 1,
        amplitude: float = 0.4,
        seed: int = 0,
        prefix: str = "scene",
    ) -> None:
        if not 1 <= named <= objects <= QUADRANTS:
            raise ValueError(f"need 1 <= named <= objects <= {QUADRANTS}, got named={named}, objects={objects}")
        if not 1 <= captions_per_scene <= MOST_CAPTIONS:
            raise ValueError(f"captions_per_scene must lie in [1, {MOST_CAPTIONS}], got {captions_per_scene}")
        if not 0 < amplitude <= 1:
            raise ValueError(f"amplitude must lie in (0, 1], got {amplitude}")
        if num_images < 1 or image_size < 32:
            raise ValueError(f"num_images must be >= 1 and image_size >= 32, got {num_images} and {image_size}")
        self.object_names: Sequence[str] = OBJECTS
        self.ids = [f"{prefix}-{index:06d}" for index in range(num_images)]
        uniform = np.random.default_rng([seed, 0]).random((num_images, 64), dtype=np.float32)
        normal = np.random.default_rng([seed, 1]).standard_normal((num_images, QUADRANTS), dtype=np.float32)
        shown = uniform[:, : len(OBJECTS)].argsort(axis=1, kind="stable")[:, :objects]  # N, objects: named ones first
        quadrant = uniform[:, 24:28].argsort(axis=1, kind="stable")[:, :objects]
        self.objects = list(np.sort(shown, axis=1))
        self.named = list(np.sort(shown[:, :named], axis=1))
        self.captions = _captions(shown[:, :named], uniform[:, 28])
        said = [self.captions]
        further = np.random.default_rng([seed, 3]).random(
            (num_images, MOST_CAPTIONS - 1, QUADRANTS + 1), dtype=np.float32
        )
        for turn in range(captions_per_scene - 1):
            order = further[:, turn, :objects].argsort(axis=1, kind="stable")[:, :named]
            said.append(_captions(np.take_along_axis(shown, order, 1), further[:, turn, QUADRANTS]))
        self.all_captions = list(zip(*said, strict=True))
        side = np.round(image_size * (0.36 + 0.14 * uniform[:, 32:36])).astype(np.int64)[:, :objects]
        self.labels: Tensor | None = torch.from_numpy(np.take_along_axis(shown, side.argmax(axis=1)[:, None], 1)[:, 0])
        self._images = torch.empty(num_images, 3, image_size, image_size, dtype=torch.uint8)
        noise = np.random.default_rng([seed, 2])
        for start in range(0, num_images, BLOCK):
            rows = slice(start, min(start + BLOCK, num_images))
            pixels = noise.standard_normal((rows.stop - start, 3, image_size, image_size), dtype=np.float32)
            first = hsv_to_rgb(uniform[rows, 40], uniform[rows, 41], uniform[rows, 42])
            second = hsv_to_rgb(uniform[rows, 43], uniform[rows, 44], uniform[rows, 45])
            canvas = backgrounds(first, second, uniform[rows, 46:50], pixels, amplitude)
            for turn in range(objects):
                place = uniform[rows, 50 + 2 * turn : 52 + 2 * turn]
                paint(
                    canvas,
                    _placed(
                        shown[rows, turn], normal[rows, turn], quadrant[rows, turn], side[rows, turn], place, image_size
                    ),
                )
            self._images[rows] = torch.from_numpy(np.round(canvas.clip(0, 1) * 255).astype(np.uint8))

    def __len__(self) -> int:
        return len(self.ids)

    def image(self, index: int) -> Tensor:
        """Scene ``index``: uint8 (3, image_size, image_size)."""
        return self._images[index]


def _captions(named: NDArray[np.int64], drawn: NDArray[np.float32]) -> list[str]:
    """A caption of each scene: the names of objects (N, named), and the word that a number in [0, 1) stands for."""
    words = np.minimum((drawn * len(WORDS)).astype(np.int64), len(WORDS) - 1)
    return [
        f"{' and '.join(OBJECTS[o] for o in row)} {WORDS[word]}"
        for row, word in zip(named, words.tolist(), strict=True)
    ]


def _placed(
    kind: NDArray[np.int64],
    normal: NDArray[np.float32],
    quadrant: NDArray[np.int64],
    side: NDArray[np.int64],
    place: NDArray[np.float32],
    image_size: int,
) -> Objects:
    """One object on each canvas, somewhere in its quadrant; ``place`` (n, 2) in [0, 1)."""
    half = image_size // 2
    corner = np.minimum((place * (half - side + 1)[:, None]).astype(np.int64), (half - side)[:, None])
    return Objects(
        shape=kind // HUES,
        hue=((kind % HUES) / HUES + 0.02 * normal).astype(np.float32) % 1,
        x0=quadrant % 2 * half + corner[:, 0],
        y0=quadrant // 2 * half + corner[:, 1],
        side=side,
    )
