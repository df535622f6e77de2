"""Memorization by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_lightning.figures import style


class Drawn(NamedTuple):
    """What is drawn of a test: its answers above, its gaps below."""

    answers: str
    answers_label: str
    gaps: dict[str, str]


DRAWN = {
    "score": Drawn("accuracy", "label inference accuracy", {"score": "déjà vu score"}),
    "ppg": Drawn("recall", "mean recall of objects", {"ppg": "PPG (precision)", "prg": "PRG (recall)"}),
}


def draw_curve(history: Sequence[Mapping[str, float]], path: str | Path, title: str = "Memorization") -> Path:
    """What target and reference find, and below it the gap between them, each with its 95% interval shaded.

    Args:
        history: one row per measurement with ``epoch`` and, with their ``_low`` and ``_high``,
            ``target_accuracy``, ``reference_accuracy`` and ``score``, or ``target_recall``,
            ``reference_recall``, ``ppg`` and ``prg``.
        path: where the PNG goes.
    """
    drawn = next(drawn for headline, drawn in DRAWN.items() if headline in history[-1])
    figure = Figure(figsize=(7, 5.6), layout="constrained")
    answers, gaps = figure.subplots(2, 1, sharex=True)
    figure.suptitle(title, x=0.02, ha="left", fontsize=12, color=style.INK)
    _line(answers, history, f"target_{drawn.answers}", style.TARGET, "target")
    _line(answers, history, f"reference_{drawn.answers}", style.REFERENCE, "reference")
    answers.set_ylabel(drawn.answers_label)
    answers.legend(frameon=False, loc="upper left")
    last = history[-1]
    for (name, label), color in zip(drawn.gaps.items(), style.GAPS, strict=False):
        _line(gaps, history, name, color, label)
        gaps.annotate(
            f"{last[name]:+.3f}",
            (last["epoch"], last[name]),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=color,
            annotation_clip=False,
        )
    gaps.axhline(0, color=style.INK, linewidth=0.8)
    gaps.set_ylabel("target minus reference" if len(drawn.gaps) > 1 else next(iter(drawn.gaps.values())))
    if len(drawn.gaps) > 1:
        gaps.legend(frameon=False, loc="upper left")
    gaps.set_xlabel("epochs completed")
    answers.set_ylim(bottom=0)
    for axes in (answers, gaps):
        style.plain(axes)
    return style.save(figure, path)


def _line(axes: Axes, history: Sequence[Mapping[str, float]], name: str, color: str, label: str) -> None:
    epochs = [row["epoch"] for row in history]
    axes.plot(epochs, [row[name] for row in history], color=color, label=label, marker="o", markersize=3.5)
    low, high = ([row[f"{name}_{end}"] for row in history] for end in ("low", "high"))
    axes.fill_between(epochs, low, high, color=color, alpha=0.18, linewidth=0)
