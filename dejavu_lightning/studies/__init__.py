"""Studies: variants of a training, each with several seeds, run as processes of their own and put in one table."""

from dejavu_lightning.studies.jobs import Job, JobProcess, Outcome, run_jobs
from dejavu_lightning.studies.ranking import RankedVariant, SeedResult, rank_variants
from dejavu_lightning.studies.slurm import run_slurm
from dejavu_lightning.studies.study_definition import Study, Variant, read_study
from dejavu_lightning.studies.study_runs import StudyRun, plan_runs, refuse_changed
from dejavu_lightning.studies.study_table import summarize_study

__all__ = [
    "Job",
    "JobProcess",
    "Outcome",
    "RankedVariant",
    "SeedResult",
    "Study",
    "StudyRun",
    "Variant",
    "plan_runs",
    "rank_variants",
    "read_study",
    "refuse_changed",
    "run_jobs",
    "run_slurm",
    "summarize_study",
]
