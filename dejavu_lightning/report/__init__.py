"""Figures and tables, made from numbers and pictures alone."""

from dejavu_lightning.figures.curve import draw_curve
from dejavu_lightning.figures.gallery import GalleryRow, Shown, draw_gallery
from dejavu_lightning.figures.partition import draw_partition
from dejavu_lightning.figures.tables import print_table

__all__ = ["GalleryRow", "Shown", "draw_curve", "draw_gallery", "draw_partition", "print_table"]
