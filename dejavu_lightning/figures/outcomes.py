"""Shares of the outcomes of records by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from dejavu_lightning.figures import style


def draw_outcomes(history: Sequence[Mapping[str, float]], path: str | Path, meanings: Mapping[str, str]) -> Path:
    """Draw the shares of the outcomes by epoch, stacked; the last measurement's shares written beside.

    Args:
        history: one row per measurement with ``epoch`` and a share of each outcome.
        path: where the PNG goes.
        meanings: outcome -> what it means.
    """
    colors = style.outcome_colors(meanings)
    figure, axes = style.canvas(7, 4, "Partition", grid=False)
    epochs = [row["epoch"] for row in history]
    wide = [epochs[0] - 0.5, epochs[0] + 0.5] if len(epochs) == 1 else epochs
    shares = [[row[name] for row in history] * (2 if len(epochs) == 1 else 1) for name in colors]
    plot_stack(axes, wide, shares, list(colors.values()))
    heights = _spread([sum(share[-1] for share in shares[:i]) + shares[i][-1] / 2 for i in range(len(shares))], 0.11)
    for (name, color), share, height in zip(colors.items(), shares, heights, strict=True):
        axes.annotate(
            f"{name} {share[-1]:.0%}\n{meanings[name]}",
            (1.02, height),
            xycoords="axes fraction",
            va="center",
            fontsize=8.5,
            color="#777777" if color == style.NEUTRAL else color,
            annotation_clip=False,
        )
    return style.save(figure, path)


def plot_stack(axes: Axes, epochs: Sequence[float], shares: Sequence[Sequence[float]], colors: Sequence[str]) -> None:
    """Plot shares by epoch on given axes, each on top of the one before; ``shares`` is by outcome, then epoch."""
    axes.stackplot(epochs, shares, colors=colors, edgecolor="white", linewidth=0.6)
    axes.set_xlim(epochs[0], epochs[-1])
    axes.set_ylim(0, 1)
    axes.set_xlabel("epochs completed")
    axes.set_ylabel("share of records")


def _spread(heights: list[float], gap: float) -> list[float]:
    """Push labels apart, upwards, so that none overlaps; then back down inside the axes."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + gap) if placed else max(height, 0.04))
    overflow = max(0.0, placed[-1] - 0.97)
    for index in range(len(placed) - 1, -1, -1):
        ceiling = placed[index + 1] - gap if index + 1 < len(placed) else placed[index] - overflow
        placed[index] = min(placed[index], ceiling)
    return placed
