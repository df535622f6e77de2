"""CLIPMem over records (Wang et al. 2025, arXiv 2502.07830, section 3)."""

from __future__ import annotations

from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization.alignment import compare_alignment
from dejavu_lightning.memorization.protocols import Comparison


def compare_pairs(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
    """Compute ``clipmem``, the mean of a_target(I, T) - a_reference(I, T), and what stands beside it.

    Of unpaired records, as with ``HeldOut``, it is mean a on the attacked records minus mean a on the other ones.
    See :func:`~dejavu_lightning.memorization.alignment.compare_alignment`.
    """
    return compare_alignment(target, reference, paired, seed, column="alignment", metric="clipmem", sign=1)
