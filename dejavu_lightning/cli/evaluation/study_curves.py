"""The variants of a study against the settings that its ``curves`` name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dejavu_lightning.figures.setting_curve import Point, draw_setting
from dejavu_lightning.runs.files import read_json
from dejavu_lightning.runs.run_folder import StudyFolder
from dejavu_lightning.studies import Study
from dejavu_lightning.studies.study_table import VariantRow


def draw_settings(study: Study, rows: Sequence[VariantRow], folder: StudyFolder) -> list[Path]:
    """Draw each setting of which two variants or more have finished.

    Args:
        study: what was planned.
        rows: of its table.
        folder: where the pictures go; ``study.json`` lies there.
    """
    found = []
    utility = study.curves_utility or study.utility or ""
    for setting, values in study.curves.items():
        points = [
            Point(values[row.variant], row.headline, row.utility.get(utility), row.variant == study.default)
            for row in rows
            if row.variant in values and row.headline is not None
        ]
        if len(points) > 1:
            headline = read_json(folder.facts)["headline"]
            found.append(draw_setting(points, setting, headline, utility, folder.curve(setting)))
    return found
