"""One part of the page: pictures or a table, what they show, and their numbers."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from dejavu_lightning.figures import style


class Picture(NamedTuple):
    """An image as a data URI; ``alt`` says what it is, ``title`` stands above it where given."""

    source: str
    alt: str
    title: str = ""


class Cell(NamedTuple):
    """Text in a table; ``tone`` is "yes", "no", "error" or nothing."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Panel:
    """A part of the page.

    Args:
        key: its anchor, and the name of its CSV file.
        title, caption: the caption says what interval is shown, if any.
        rows: the numbers; every row has the same columns.
        pictures: beside each other where there is room.
        headings, table: of a table; a cell of the tone "error" takes all columns that are left.
        folded: the pictures are shown on request.
    """

    key: str
    title: str
    caption: str
    rows: Sequence[Mapping[str, Any]]
    pictures: Sequence[Picture] = ()
    headings: Sequence[str] = ()
    table: Sequence[Sequence[Cell]] = ()
    folded: bool = False

    @property
    def csv(self) -> str:
        """The rows as a data URI; empty where there are none."""
        if not self.rows:
            return ""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]))
        writer.writeheader()
        writer.writerows(self.rows)
        return data_uri("text/csv;charset=utf-8", text.getvalue().encode())


def data_uri(kind: str, content: bytes) -> str:
    """The content itself in place of an address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def svg_picture(figure: Figure, alt: str, title: str = "") -> Picture:
    """A figure as a picture of the page."""
    return Picture(data_uri("image/svg+xml", style.svg(figure)), alt, title)
