"""Memorization by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dejavu_lightning.report import style


def draw_curve(history: Sequence[Mapping[str, float]], path: str | Path, title: str = "Memorization") -> Path:
    """Target and reference accuracy, and below them the score, each with its 95% interval shaded.

    Args:
        history: one row per measurement with ``epoch``, ``target_accuracy``, ``reference_accuracy`` and
            ``score``, and their ``_low`` and ``_high``.
        path: where the PNG goes.
    """
    figure = Figure(figsize=(7, 5.6), layout="constrained")
    accuracy, score = figure.subplots(2, 1, sharex=True)
    figure.suptitle(title, x=0.02, ha="left", fontsize=12, color=style.INK)
    _line(accuracy, history, "target_accuracy", style.TARGET, "target")
    _line(accuracy, history, "reference_accuracy", style.REFERENCE, "reference")
    accuracy.set_ylabel("label inference accuracy")
    accuracy.legend(frameon=False, loc="upper left")
    _line(score, history, "score", style.SCORE, "déjà vu score")
    score.axhline(0, color=style.INK, linewidth=0.8)
    score.set_ylabel("déjà vu score")
    score.set_xlabel("epochs completed")
    last = history[-1]
    score.annotate(
        f"{last['score']:+.3f}",
        (last["epoch"], last["score"]),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=style.SCORE,
        annotation_clip=False,
    )
    accuracy.set_ylim(bottom=0)
    for axes in (accuracy, score):
        style.plain(axes)
    return style.save(figure, path)


def _line(axes: Axes, history: Sequence[Mapping[str, float]], name: str, color: str, label: str) -> None:
    epochs = [row["epoch"] for row in history]
    axes.plot(epochs, [row[name] for row in history], color=color, label=label, marker="o", markersize=3.5)
    low, high = ([row[f"{name}_{end}"] for row in history] for end in ("low", "high"))
    axes.fill_between(epochs, low, high, color=color, alpha=0.18, linewidth=0)
