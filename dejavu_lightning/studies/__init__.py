"""Studies: variants of a training, each with several seeds, run as processes of their own and put in one table."""

from dejavu_lightning.studies.definition import Study, Variant, read_study
from dejavu_lightning.studies.local import run_local
from dejavu_lightning.studies.process import Job, Outcome
from dejavu_lightning.studies.runs import Run, plan_runs, refuse_changed
from dejavu_lightning.studies.slurm import run_slurm
from dejavu_lightning.studies.table import summarize

__all__ = [
    "Job",
    "Outcome",
    "Run",
    "Study",
    "Variant",
    "plan_runs",
    "read_study",
    "refuse_changed",
    "run_local",
    "run_slurm",
    "summarize",
]
