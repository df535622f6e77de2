"""What the metrics ask of their arguments."""

from __future__ import annotations

from torch import Tensor


def check_paired(**values: Tensor) -> None:
    """Raise unless the named tensors are of the same records, (N,) each."""
    shapes = [tuple(value.shape) for value in values.values()]
    if len(shapes[0]) != 1 or len(set(shapes)) > 1:
        raise ValueError(
            f"{', '.join(values)} must have the same shape (N,), a value a record; got {', '.join(map(str, shapes))}"
        )


def check_any(records: int) -> None:
    """Raise where there is nothing to average."""
    if not records:
        raise ValueError("there are no records to measure; give at least one")


def check_fraction(fraction: float) -> None:
    """Raise unless ``fraction`` of the records are some of them."""
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction}")


def check_labels(name: str, labels: Tensor, num_classes: int) -> None:
    """Raise unless all labels, which errors call ``name``, are classes."""
    if labels.numel() and not (0 <= int(labels.min()) and int(labels.max()) < num_classes):
        raise ValueError(f"{name} run from {int(labels.min())} to {int(labels.max())}, outside [0, {num_classes})")
