"""One HTML file that shows any set of runs and needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from dejavu_lightning.core.whole_file import write_text
from dejavu_lightning.report.collection import Collection, read_collection
from dejavu_lightning.report.panels.by_group import by_group
from dejavu_lightning.report.panels.by_place import by_layer, by_neighbors
from dejavu_lightning.report.panels.classes import classes
from dejavu_lightning.report.panels.differences import differences
from dejavu_lightning.report.panels.distributions import reached_levels, spreads
from dejavu_lightning.report.panels.epochs import memorization_curves, utility_curves
from dejavu_lightning.report.panels.fractions import fractions
from dejavu_lightning.report.panels.panel import Panel
from dejavu_lightning.report.panels.partitions import partitions, partitions_by_epoch
from dejavu_lightning.report.panels.record_events import record_events
from dejavu_lightning.report.panels.summary import summary
from dejavu_lightning.report.panels.top_gaps import top_gaps
from dejavu_lightning.report.panels.top_records import forgetting, galleries
from dejavu_lightning.report.panels.tradeoff import tradeoff

TEMPLATE = "report.html.jinja"
# In the order of the page; each is left out where no run has what it shows.
PANELS: tuple[Callable[[Collection], Panel | None], ...] = (
    summary,
    differences,
    tradeoff,
    memorization_curves,
    utility_curves,
    partitions,
    partitions_by_epoch,
    fractions,
    by_layer,
    by_neighbors,
    top_gaps,
    reached_levels,
    spreads,
    classes,
    by_group,
    record_events,
    galleries,
    forgetting,
)


def write_report(
    folders: Sequence[str | Path],
    output: str | Path,
    *,
    names: Sequence[str] | None = None,
    default: str | None = None,
    metric: str | None = None,
    utility: str | None = None,
    title: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one HTML file about runs; it has its pictures, its numbers as CSV, and no address of another file.

    Args:
        folders: of ``fit``, ``pair`` or ``evaluate.py memorization``, each a variant; or of one study.
        output: the file.
        names: of the variants; those of the folders if not given.
        default: the variant that is marked and compared with; a study's own, else the first.
        metric: of memorization, drawn against utility and by epoch; the headline of the runs' test if not given.
        utility: what is drawn against it; the first that runs have of linear probe, zero-shot, nearest neighbours.
        title: of the page.
        overwrite: replace ``output``.

    Raises:
        FileExistsError: ``output`` exists.
        ValueError: runs cannot be read, named or compared, or do not have what is asked for.
    """
    path = Path(output)
    if path.exists() and not overwrite:
        raise FileExistsError(f"--output {path} exists; name a new file, or add --overwrite true")
    collection = read_collection(folders, names, default, metric, utility, title)
    page = render(collection)
    write_text(path, page)
    return path


def render(collection: Collection) -> str:
    """The page as text."""
    panels = [panel for make in PANELS if (panel := make(collection)) is not None]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("dejavu_lightning.report").joinpath(TEMPLATE).read_text(encoding="utf-8"))
    run = next((run for _, run in collection.measured()), None)
    settings = run.target.settings if run else {}
    return template.render(
        title=collection.title,
        panels=panels,
        settings=", ".join(f"{name} {value}" for name, value in settings.items()),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
