"""Datasets to embeddings: the batches do not depend on the number of processes, so neither do the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dejavu_lightning.distributed import gathered, world
from dejavu_lightning.memorization.encoders import Encoder
from dejavu_lightning.memorization.sets import Samples


class Embedded(NamedTuple):
    """Samples of one dataset in its order.

    ``rows`` (n,) positions in the dataset of the embeddings held by this process; ``embeddings`` (n, D)
    float32; ``ids`` and ``labels`` (N,) of the whole dataset.
    """

    rows: Tensor
    embeddings: Tensor
    ids: list[str]
    labels: Tensor


def embed(encoder: Encoder, dataset: Samples, role: str, batch_size: int, num_workers: int) -> Embedded:
    """Embed every sample once; process r of W takes batches r, r + W, ...

    The last batch is padded to full size, because kernels may round differently for other shapes.

    Args:
        role: what errors and made-up ids call the dataset.

    Raises:
        ValueError: the dataset is empty, an id repeats, or an embedding is not finite or not (B, D).
    """
    count = len(dataset)
    if count == 0:
        raise ValueError(f"the {role} set is empty: nothing can be measured")
    rank, processes = world()
    batches = [list(range(start, min(start + batch_size, count))) for start in range(0, count, batch_size)]
    own = batches[rank::processes]
    ids: list[str] = []
    labels: list[int] = []
    parts: list[Tensor] = []
    problem = ""
    loader: DataLoader[Any] = DataLoader(
        cast(Dataset[Any], dataset),
        batch_sampler=own,
        num_workers=num_workers,
        collate_fn=list,
        generator=torch.Generator(),
    )
    for rows, samples in zip(own, loader, strict=True):
        read = [_read(sample, row, role) for sample, row in zip(samples, rows, strict=True)]
        ids += [identifier for _, _, identifier in read]
        labels += [label for _, label, _ in read]
        images = torch.stack([image for image, _, _ in read])
        padding = images[-1:].expand(batch_size - len(images), *images.shape[1:])
        output = encoder(torch.cat([images, padding]))
        problem = problem or _flaw(output, ids[-len(rows) :], role)
        if problem:
            break
        parts.append(output[: len(rows)].float())
    # A process that raised alone would leave the others waiting.
    flaws = [flaw for flaw in gathered(problem) if flaw]
    if flaws:
        raise ValueError(flaws[0])
    pieces = gathered((ids, labels))
    all_ids, all_labels = [""] * count, torch.zeros(count, dtype=torch.int64)
    for process, (its_ids, its_labels) in enumerate(pieces):
        its_rows = [row for batch in batches[process::processes] for row in batch]
        all_labels[its_rows] = torch.tensor(its_labels, dtype=torch.int64)
        for row, identifier in zip(its_rows, its_ids, strict=True):
            all_ids[row] = identifier
    if len(set(all_ids)) != count:
        twice = sorted(identifier for identifier, times in Counter(all_ids).items() if times > 1)[:3]
        raise ValueError(f"the {role} set holds ids more than once, such as {twice}; the id is the only join key")
    own_rows = torch.tensor([row for batch in own for row in batch], dtype=torch.int64)
    embeddings = torch.cat(parts) if parts else torch.empty(0, 0)
    return Embedded(own_rows, embeddings, all_ids, all_labels)


def _read(sample: Any, row: int, role: str) -> tuple[Tensor, int, str]:
    if isinstance(sample, dict):
        return sample["image"], int(sample["label"]), str(sample.get("id", f"{role}/{row}"))
    if isinstance(sample, Sequence) and len(sample) == 2:
        return sample[0], int(sample[1]), f"{role}/{row}"
    raise TypeError(
        f"sample {row} of the {role} set is a {type(sample).__name__}; expected a mapping with 'image', 'label' "
        "and 'id', or a tuple (image, label)"
    )


def _flaw(output: Any, ids: Sequence[str], role: str) -> str:
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        return f"the encoder must return embeddings of shape (B, D), it returned {shape}; choose another encode="
    bad = ~torch.isfinite(output[: len(ids)]).all(dim=1)
    if bad.any():
        first = ids[int(bad.nonzero()[0])]
        return (
            f"the embedding of {first!r} ({role} set) holds NaN or infinite values, {int(bad.sum())} of {len(ids)} in "
            "its batch: the model has diverged, or its inputs are not normalised"
        )
    return ""
