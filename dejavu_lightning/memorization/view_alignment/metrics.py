"""SSLMem over records (Wang et al. 2024, arXiv 2401.12233, section 3)."""

from __future__ import annotations

from dejavu_lightning.core.records import Records
from dejavu_lightning.memorization.alignment import compare_alignment
from dejavu_lightning.memorization.protocols import Comparison


def compare_views(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
    """Compute ``sslmem``, the mean of d_reference(x) - d_target(x), and what stands beside it.

    Of unpaired records, as with ``HeldOut``, it is mean d on the other records minus mean d on the attacked ones.
    See :func:`~dejavu_lightning.memorization.alignment.compare_alignment`.
    """
    return compare_alignment(target, reference, paired, seed, column="distance", metric="sslmem", sign=-1)
