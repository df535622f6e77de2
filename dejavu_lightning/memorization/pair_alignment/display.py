"""How pair alignment is shown."""

from __future__ import annotations

from dejavu_lightning.memorization.alignment import alignment_display

DISPLAY = alignment_display(
    metric="clipmem",
    paper="CLIPMem",
    column="alignment",
    label="alignment of picture and caption",
    title="Most memorized pairs: the target puts picture and caption closer together than the reference",
)
