"""Run jobs on a SLURM cluster, as an array that submitit submits."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from dejavu_lightning.studies.jobs import Job, JobProcess, Key, Outcome, run_jobs

POLL = 5.0


class ClusterJob:
    """A job as submitit runs it; one that is preempted or out of time is queued again and continues."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self) -> Outcome:
        """Run it to its end."""
        # Without this name Lightning starts the processes of a machine's devices itself, as it does anywhere else:
        # the job is a single task, in which two trainings and a comparison follow each other.
        os.environ.pop("SLURM_NTASKS", None)
        ((_, outcome),) = run_jobs({None: self.job}, JobProcess, 1)
        return outcome

    def checkpoint(self) -> Any:
        """Tell submitit to queue the same job again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class SubmittedJob:
    """A job that submitit has sent to the cluster."""

    def __init__(self, job: Any) -> None:
        self._job = job

    def outcome(self) -> Outcome | None:
        """How it ended; None while it waits or runs."""
        if not self._job.done():
            return None
        error = self._job.exception()
        if error is None:
            return Outcome(*self._job.result())
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return Outcome(0.0, f"job {self._job.job_id}: {lines[-1] if lines else type(error).__name__}")

    def stop(self) -> None:
        """Cancel it."""
        self._job.cancel()


def run_slurm(
    jobs: Mapping[Key, Job], at_once: int | None, options: Mapping[str, Any], folder: Path, cluster: str = "slurm"
) -> Generator[tuple[Key, Outcome], None, None]:
    """Submit all jobs as one array and yield the outcome of each as it ends.

    Jobs that are not done when the caller stops asking, or is interrupted, are cancelled.

    Args:
        jobs: what to run; their files must be where the cluster's machines find them too.
        at_once: how many may run at a time; None leaves it to submitit.
        options: of submitit's ``AutoExecutor.update_parameters``, such as ``slurm_partition``.
        folder: of submitit's scripts, logs and results.
        cluster: as submitit names it.

    Raises:
        ValueError: submitit is not installed, there is no such cluster here, or it does not take the options.
    """
    try:
        import submitit
    except ImportError:
        raise ValueError('--launcher slurm needs submitit: pip install "dejavu-lightning[cluster]"') from None
    parallelism = {} if at_once is None else {"slurm_array_parallelism": at_once}
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**{**options, **parallelism})
    except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"submitit refuses --launcher slurm with the options {dict(options)}: {error}") from None
    with executor.batch():
        submitted = {key: executor.submit(ClusterJob(job)) for key, job in jobs.items()}
    yield from run_jobs(submitted, SubmittedJob, len(submitted), POLL)
