"""What the metrics ask of their arguments."""

from __future__ import annotations

from torch import Tensor


def check_paired(**values: Tensor) -> None:
    """Raise unless the named tensors are of the same records, (N,) each.

    Args:
        values: tensors by the names that the error gives them.

    Raises:
        ValueError: a shape is not (N,), or they differ.

    Example:
        >>> from torch import zeros
        >>> check_paired(target=zeros(3), reference=zeros(2))
        Traceback (most recent call last):
        ValueError: target, reference must have the same shape (N,), a value a record; got (3,), (2,)
    """
    shapes = [tuple(value.shape) for value in values.values()]
    if len(shapes[0]) != 1 or len(set(shapes)) > 1:
        raise ValueError(
            f"{', '.join(values)} must have the same shape (N,), a value a record; got {', '.join(map(str, shapes))}"
        )


def check_any(records: int) -> None:
    """Raise where there is nothing to average.

    Args:
        records: how many there are.

    Raises:
        ValueError: there are none.

    Example:
        >>> check_any(0)
        Traceback (most recent call last):
        ValueError: there are no records to measure; give at least one
    """
    if not records:
        raise ValueError("there are no records to measure; give at least one")


def check_fraction(fraction: float) -> None:
    """Raise unless a fraction of the records is at least some of them and at most all.

    Args:
        fraction: of the records; must lie in (0, 1].

    Raises:
        ValueError: it does not.

    Example:
        >>> check_fraction(20)
        Traceback (most recent call last):
        ValueError: fraction must lie in (0, 1], got 20
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction}")


def check_labels(name: str, labels: Tensor, num_classes: int) -> None:
    """Raise unless all labels are classes.

    Args:
        name: what the error calls the labels.
        labels: integers of any shape.
        num_classes: C; labels must lie in [0, C).

    Raises:
        ValueError: one does not.

    Example:
        >>> from torch import tensor
        >>> check_labels("labels", tensor([1, 2, 3]), num_classes=3)
        Traceback (most recent call last):
        ValueError: labels run from 1 to 3, outside [0, 3)
    """
    if labels.numel() and not (0 <= int(labels.min()) and int(labels.max()) < num_classes):
        raise ValueError(f"{name} run from {int(labels.min())} to {int(labels.max())}, outside [0, {num_classes})")
