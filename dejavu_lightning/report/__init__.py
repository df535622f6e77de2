"""Figures and tables, made from numbers and pictures alone."""

from dejavu_lightning.report.curve import draw_curve
from dejavu_lightning.report.gallery import GalleryRow, Shown, draw_gallery
from dejavu_lightning.report.partition import draw_partition
from dejavu_lightning.report.table import print_table

__all__ = ["GalleryRow", "Shown", "draw_curve", "draw_gallery", "draw_partition", "print_table"]
