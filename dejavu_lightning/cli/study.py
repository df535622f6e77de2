"""``study``: variants of a training, each with several seeds, in one table."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from importlib import import_module
from pathlib import Path

from dejavu_lightning.cli import typed
from dejavu_lightning.cli.configs import environment, find_config, program
from dejavu_lightning.cli.terminal.next_steps import PART, Step, print_next_steps
from dejavu_lightning.runs.run_folder import StudyFolder
from dejavu_lightning.studies import (
    Job,
    JobProcess,
    Outcome,
    Study,
    StudyRun,
    plan_runs,
    read_study,
    refuse_changed,
    run_jobs,
    run_slurm,
    summarize_study,
)

INTERRUPTED = 130


def study(arguments: list[str]) -> None:
    """Run what is not finished and write the table; ``arguments`` begin with "study"."""
    options = _parser().parse_args(arguments[1:])
    for module in options.modules or ():
        import_module(module)
    file = find_config(options.config)
    plan = read_study(file, options.seeds)
    output = Path(options.output or plan.output or f"runs/studies/{plan.name}")
    runs = plan_runs(plan, output, _finder(file))
    refuse_changed(runs)
    commands = {run: ["pair", *run.arguments, "--output", str(run.folder), "--resume"] for run in runs}
    if options.dry_run:
        for run in runs:
            print(f"# {run.name}" + (" (finished)" if run.finished else ""))
            print(shlex.join(["python", "-m", "dejavu_lightning", *commands[run]]))
        return
    waiting = [run for run in runs if not run.finished]
    print(f"{plan.name}: {len(runs)} runs, {len(runs) - len(waiting)} finished before, in {output}", flush=True)
    errors = _run_all({run: commands[run] for run in waiting}, options, plan, output)
    rows = summarize_study(plan, runs, errors, output)
    if any(run.files.finished for run in runs):
        # Imported here: planning and starting runs should not take the seconds that importing torch does.
        from dejavu_lightning.cli.evaluation.study_curves import draw_settings

        for path in draw_settings(plan, rows, StudyFolder(output)):
            print(f"wrote {path}")
        _report(plan, output)
    folder = StudyFolder(output)
    again = ["study", "--config", options.config, "--output", output, "--seeds", *map(str, plan.seeds)]
    steps = [
        Step("what failed, once more", again)
        if errors
        else Step("one more seed of each variant", [*again, str(max(plan.seeds) + 1)]),
    ]
    if plan.report:
        steps.append(Step("the page, anew", ["report", output, "--output", folder.report, "--overwrite", "true"]))
    print_next_steps({"study": output, "table": folder.table}, steps)
    if errors:
        raise SystemExit(1)


def _report(plan: Study, output: Path) -> None:
    from dejavu_lightning.report.html import write_report

    page = StudyFolder(output).report
    page.unlink(missing_ok=True)  # of earlier runs
    if not plan.report:
        print("no report and no ranking of the variants, as they attack other records (report: false in the study)")
        return
    try:
        print(f"wrote {write_report([output], page, overwrite=True)}")
    except ValueError as error:
        raise ValueError(
            f"no report: {error}. If variants attack other records on purpose, give the study report: false"
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{typed()} study",
        description="Train and compare a pair of models for each variant and seed of a study, each pair in "
        "OUTPUT/VARIANT/seed=N, and put them in one table. Run again, it continues with what is not finished.",
    )
    parser.add_argument("--config", required=True, help="the study's YAML file, such as those in configs/studies/")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the file's; more of them continue a study")
    parser.add_argument("--output", help="folder of all runs; else the file's output, or runs/studies/NAME")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and do nothing")
    parser.add_argument(
        "--jobs", type=_positive, help="pairs at once; 1 on this machine, submitit's limit on a cluster"
    )
    parser.add_argument(
        "--import", dest="modules", nargs="+", metavar="MODULE", help="modules that register tests of your own"
    )
    parser.add_argument("--launcher", choices=("local", "slurm"), default="local", help="where the pairs run")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def _finder(file: str) -> Callable[[str], str]:
    def find(name: str) -> str:
        try:
            return find_config(name)
        except SystemExit as error:
            raise ValueError(f"{file}: {str(error).removeprefix('error: ')}") from None

    return find


def _run_all(
    commands: Mapping[StudyRun, list[str]], options: argparse.Namespace, plan: Study, output: Path
) -> dict[StudyRun, str]:
    """The errors of those that failed."""
    errors: dict[StudyRun, str] = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, signal.default_int_handler)
    for run in commands:
        run.begin()
    try:
        with closing(_launch(commands, options, plan, output)) as outcomes:
            for run, outcome in outcomes:
                error = outcome.error or (None if run.files.finished else "ended without comparison/metrics.json")
                run.end(Outcome(outcome.seconds, error))
                if error:
                    errors[run] = error
                told = f"failed: {error} ({run.files.log})" if error else "finished"
                print(f"{run.name}: {told}, {outcome.seconds:.0f} s", flush=True)
    except KeyboardInterrupt:
        print("stopped; the same command continues where it was", flush=True)
        raise SystemExit(INTERRUPTED) from None
    return errors


def _launch(
    commands: Mapping[StudyRun, list[str]], options: argparse.Namespace, plan: Study, output: Path
) -> Generator[tuple[StudyRun, Outcome], None, None]:
    added = {**environment(), PART: "1"}
    at_once = options.jobs or 1
    if options.launcher == "local" and at_once > 1 and "OMP_NUM_THREADS" not in os.environ:
        added["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // at_once))
    jobs = {run: Job(program(command), run.files.log, added) for run, command in commands.items()}
    if options.launcher == "local":
        return run_jobs(jobs, JobProcess, at_once)
    return run_slurm(jobs, options.jobs, plan.slurm, StudyFolder(output).submitit)
