"""What a curve ends in, in a line or two for the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from dejavu_lightning.core.estimate import Estimate, estimates_in, format_p
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.runs.history import HISTORY
from dejavu_lightning.runs.measurement_folder import figure_file
from dejavu_lightning.runs.run_folder import RunFolder


def result_line(row: Mapping[str, float], headlines: Sequence[str], display: Display) -> str:
    """The headline of a measurement with its interval, and after how many epochs it is.

    Args:
        row: ``epoch`` and the metrics.
        headlines: metrics that sum a measurement up; the first that the row has is told.

    Example:
        >>> from dejavu_lightning.memorization import LabelInference
        >>> row = {"epoch": 8.0, "score": 0.25, "score_low": 0.125, "score_high": 0.375, "score_p_value": 0.0001}
        >>> result_line(row, ["net_score", "score"], LabelInference.display)
        'déjà vu score +0.250 [+0.125, +0.375], p < .001, after 8 epochs'
    """
    estimates = estimates_in(row)
    metric = next(name for name in headlines if name in estimates)
    epochs = int(row["epoch"])
    after = f"after {epochs} epoch{'' if epochs == 1 else 's'}"
    return f"{display.label(metric)} {_told(estimates[metric])}, {after}"


def where_it_lies(folder: Path) -> str:
    """The folder of a curve, with the figures that it has, as seen from the working directory."""
    files = [file.name for file in (figure_file(folder, "curve"), figure_file(folder, "gallery")) if file.is_file()]
    return f"{', '.join([*files, HISTORY])} in {_from_here(folder)}"


def page_command(folder: Path) -> str:
    """The command that makes a page of a curve; empty where its folder is not named as the command needs it."""
    run = RunFolder(folder.parent)
    if run.memorization != folder:
        return ""
    words = ["dejavu-lightning", "report", _from_here(run.path), "--output", _from_here(folder / "report.html")]
    return shlex.join(words)


def _told(estimate: Estimate) -> str:
    value = f"{estimate.value:+.3f}"
    if estimate.low is not None and estimate.high is not None:
        value += f" [{estimate.low:+.3f}, {estimate.high:+.3f}]"
    if estimate.p_value is not None:
        told = format_p(estimate.p_value)
        value += f", p {told}" if told[0] == "<" else f", p = {told}"
    return value


def _from_here(path: Path) -> str:
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
