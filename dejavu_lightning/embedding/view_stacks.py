"""Embeddings of several training views of each picture."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dejavu_lightning.core.random_stream import random_stream
from dejavu_lightning.core.samples import Samples, draws_views, whole
from dejavu_lightning.embedding.embed import Embedded, Reading, embed
from dejavu_lightning.embedding.encoders import Encoder, ModuleEncoder
from dejavu_lightning.embedding.host_samples import class_number, image_tensor

Augment = Callable[[Tensor], Tensor]


def check_views(dataset: Samples, augment: Augment | None, role: str) -> None:
    """Raise now what drawing views would raise later.

    Raises:
        TypeError: the dataset draws no views and no ``augment`` is given.
    """
    if augment is None and not draws_views(dataset):
        raise TypeError(
            f"the {role} set must offer training views of its pictures, and a {type(dataset).__name__} draws none: "
            "give it a method views(position, count) -> (count, ...), or the test augment=, a function picture -> view"
        )


def embed_views(
    encoder: Encoder,
    reduce: Callable[[Tensor], Tensor],
    dataset: Samples,
    role: str,
    *,
    views: int,
    seed: int,
    augment: Augment | None,
    batch_size: int,
    num_workers: int,
) -> Embedded:
    """Embed every picture of a dataset, whole, and ``views`` training views of it, and reduce them to one row.

    The views of a picture depend on the seed and its id alone, so two models see the same ones.

    Args:
        encoder: pictures (B, ...) to embeddings (B, D), or to (B, D) of several layers side by side.
        reduce: (B, 1 + views, D) embeddings, the picture's own first, to (B, E).
        role: what errors call the dataset.
        augment: draws a view of a picture, where the dataset has no method ``views``.
        batch_size: pictures and views that the encoder sees at once, about.

    Returns:
        E columns for each sample; its facts are the label, -1 where it has none.
    """
    check_views(dataset, augment, role)

    def reduced(inputs: Tensor) -> Tensor:
        found = encoder(inputs.flatten(0, 1))
        return reduce(found.float().view(len(inputs), 1 + views, -1))

    if isinstance(encoder, ModuleEncoder) and encoder.kept is not None:
        encoder.kept.pass_over("those of training views are not, see docs/guides/models.md")
    stacks = _ViewStacks(whole(dataset), views, seed, augment, role)
    return embed(reduced, stacks, role, max(1, batch_size // (1 + views)), num_workers, _read)


class _ViewStacks:
    """Each sample's picture and views, (1 + views, ...)."""

    def __init__(self, dataset: Samples, views: int, seed: int, augment: Augment | None, role: str) -> None:
        self.dataset, self.views, self.seed, self.augment, self.role = dataset, views, seed, augment, role

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> Any:
        sample = self.dataset[position]
        found = _picture(sample, position, self.role)
        with random_stream(self.seed, zlib.crc32(found.identifier.encode())):
            if self.augment is not None:
                drawn = torch.stack([self.augment(found.input) for _ in range(self.views)])
            else:
                dataset: Any = self.dataset
                drawn = dataset.views(position, self.views)
        return found._replace(input=torch.cat([found.input[None], drawn.to(found.input)]))


def _picture(sample: Any, row: int, role: str) -> Reading:
    if isinstance(sample, tuple | list) and len(sample) == 2:
        return Reading(image_tensor(sample[0], row, role), class_number(sample[1], row, role), f"{role}/{row}")
    if isinstance(sample, dict) and "image" in sample:
        label = class_number(sample.get("label", -1), row, role)
        return Reading(image_tensor(sample["image"], row, role), label, str(sample.get("id", f"{role}/{row}")))
    what = f"a mapping with {sorted(sample)}" if isinstance(sample, dict) else f"a {type(sample).__name__}"
    raise TypeError(
        f"sample {row} of the {role} set is {what}; expected a mapping with 'image', a tensor, and 'id', or a tuple "
        "(image, label)"
    )


def _read(sample: Any, *_: Any) -> Reading:
    found: Reading = sample
    return found
