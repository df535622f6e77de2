"""What is wrong with an encoder's output, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# What to do about an output, by its number of dimensions.
ADVICE = {
    4: "pool its feature maps: encode=lambda module, images: module.backbone(images).mean(dim=(2, 3)), or give another "
    "part of it",
    3: "take one of its tokens: encode=lambda module, images: module.backbone(images)[:, 0], or their mean(dim=1)",
    0: "choose another encode=",
}
ROUNDED = 2.0**-10  # what an embedding may lose of its length: twice what float16 takes of a number


def shape_and_advice(output: Any) -> tuple[str, str]:
    """What an output is, and how to make embeddings of it."""
    if not isinstance(output, Tensor):
        return type(output).__name__, ADVICE[0]
    return str(tuple(output.shape)), ADVICE.get(output.ndim, ADVICE[0])


def flaw(output: Any, ids: Sequence[str], role: str, width: int | None, dtype: torch.dtype) -> str:
    """Say why an encoder's output cannot be taken as embeddings; empty where it can.

    Args:
        output: of a batch; its first rows are those of ``ids``.
        ids: of the samples that count, the rest is padding.
        role: what the message calls the dataset.
        width: of the batches before it.
        dtype: that embeddings are held in.
    """
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape, advice = shape_and_advice(output)
        return f"the encoder must return embeddings of shape (B, D), it returned {shape}; {advice}"
    if width is not None and output.shape[1] != width:
        return (
            f"the encoder returned embeddings of width {output.shape[1]} from {ids[0]!r} on ({role} set), before it "
            f"{width}: all samples need the same width"
        )
    bad = ~torch.isfinite(output[: len(ids)].float()).all(dim=1)  # as they will be held
    if bad.any():
        first = ids[int(bad.nonzero()[0])]
        return (
            f"the embedding of {first!r} ({role} set) holds NaN or infinite values, {int(bad.sum())} of {len(ids)} in "
            "its batch: the model has diverged, or its inputs are not normalised"
        )
    if dtype != torch.float32:
        exact = output[: len(ids)].detach().float()
        lost = (exact.to(dtype).float() - exact).norm(dim=1) > ROUNDED * exact.norm(dim=1)
        if lost.any():
            return (
                f"the embedding of {ids[int(lost.nonzero()[0])]!r} ({role} set) cannot be kept as float16, whose "
                "numbers lie between 6e-5 and 65504: leave precision (--embeddings_precision) at float32"
            )
    return ""
