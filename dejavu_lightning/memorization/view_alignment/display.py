"""How view alignment is shown."""

from __future__ import annotations

from dejavu_lightning.memorization.alignment import alignment_display

DISPLAY = alignment_display(
    metric="sslmem",
    paper="SSLMem",
    column="distance",
    label="distance of views",
    title="Most memorized records: the target puts their views closer together than the reference",
)
