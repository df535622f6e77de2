"""Studies: what is run, continued, refused and told."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import submitit
import yaml

from dejavu_lightning.cli.pair import compared_checkpoints
from dejavu_lightning.runs.run_folder import PairFolder
from dejavu_lightning.studies import Job, JobProcess, plan_runs, read_study, refuse_changed, run_jobs, run_slurm
from tests.commands import ROOT, TINY, history, run
from tests.models import save_after

STUDY = {
    "name": "tiny",
    "default": "plain",
    "seeds": [3],
    "seed_keys": ["seed_everything", "data.split_seed", "data.source.seed"],
    "variants": {"plain": {}, "broken": {"overrides": {"data.per_class": 4000}}},
}
PROBES = {"class_path": "dejavu_lightning.utility.NearestNeighborProbe", "init_args": {"k": 5}}
UTILITY = {"class_path": "dejavu_lightning.callbacks.UtilityMonitor", "init_args": {"probes": [PROBES]}}


@pytest.fixture
def write(tmp_path):
    """A study file beside its base; keyword arguments replace keys."""
    base = tmp_path / "base.yaml"
    trainer = TINY["trainer"] | {"max_epochs": 1, "callbacks": [UTILITY]}
    base.write_text(yaml.safe_dump(TINY | {"trainer": trainer}))

    def written(**changes):
        file = tmp_path / "study.yaml"
        file.write_text(yaml.safe_dump({**STUDY, "base": [str(base)], **changes}, sort_keys=False))
        return file

    return written


def table(output):
    with (output / "table.csv").open() as file:
        return {row["variant"]: row for row in csv.DictReader(file)}


def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_dry_run_prints_the_commands_and_creates_nothing(write, tmp_path):
    output = tmp_path / "out"
    printed = run("train.py", "study", "--config", write(), "--output", output, "--dry-run").stdout
    commands = [line for line in printed.splitlines() if line.startswith("python -m dejavu_lightning pair")]
    assert len(commands) == 2
    assert "--data.source.seed=3" in commands[0]
    printed = run("train.py", "study", "--config", write(), "--output", output, "--seeds", "5", "8", "--dry-run").stdout
    assert [line for line in printed.splitlines() if line.startswith("#")] == [
        f"# {variant}, seed {seed}" for seed in (5, 8) for variant in ("plain", "broken")
    ]
    assert f"--output {output}/broken/seed=3 --resume" in commands[1]
    assert "--data.per_class=4000" in commands[1]
    assert not output.exists()


@pytest.mark.slow
def test_a_failing_variant_is_told_and_the_study_continues_when_it_is_fixed(write, tmp_path):
    output = tmp_path / "out"
    told = run("train.py", "study", "--config", write(utility="knn_top1"), "--output", output, code=1).stdout
    assert "broken, seed 3: failed: error: class 'disk' is short" in told
    rows = table(output)
    assert (rows["plain"]["finished"], rows["plain"]["failed"], rows["plain"]["error"]) == ("1", "0", "")
    assert (rows["broken"]["finished"], rows["broken"]["failed"], rows["broken"]["net_score"]) == ("0", "1", "")
    assert "4000" in rows["broken"]["error"]
    metrics = json.loads((output / "plain" / "seed=3" / "comparison" / "metrics.json").read_text())["metrics"]
    shown = ("net_score", "net_score_low", "net_score_high", "net_score_p_value", "score", "control_score_high")
    assert [float(rows["plain"][name]) for name in shown] == pytest.approx([metrics[name] for name in shown])
    assert rows["plain"]["interval"] == "records"
    assert 0 < float(rows["plain"]["knn_top1"]) <= 1
    assert float(rows["plain"]["seconds"]) > 1
    summary = json.loads((output / "study.json").read_text())
    assert summary["runs"][0] == {"variant": "plain", "seed": 3, "folder": "plain/seed=3", "error": None}
    assert summary["runs"][1]["error"] == rows["broken"]["error"]
    told = {name: summary[name] for name in ("name", "default", "headline", "utility")}
    assert told == {"name": "tiny", "default": "plain", "headline": "net_score", "utility": "knn_top1"}

    assert (output / "report.html").is_file()

    # Of the finished run nothing is written again; the fixed one runs, although its settings have changed.
    finished = contents(output / "plain")
    fixed = {"plain": {}, "broken": {"overrides": {"data.per_class": 3}}}
    told = run("train.py", "study", "--config", write(variants=fixed), "--output", output, code=1).stderr
    assert "no report: " in told
    assert "cannot be compared, they were measured differently (public: 190 against 210" in " ".join(told.split())
    assert "on purpose, give the study report: false" in " ".join(told.split())
    assert not (output / "report.html").exists()  # that of before would show fewer runs
    told = run("train.py", "study", "--config", write(variants=fixed, report=False), "--output", output).stdout
    assert "no report and no ranking of the variants, as they attack other records (report: false in the study)" in told
    assert not (output / "report.html").exists()
    assert contents(output / "plain") == finished
    assert table(output)["broken"]["finished"] == "1"
    assert json.loads((output / "study.json").read_text())["runs"][1]["error"] is None

    # Finished as a whole: the same answer at once, and other settings are refused.
    (output / "table.csv").unlink()
    everything = contents(output / "broken")
    run("train.py", "study", "--config", write(variants=fixed), "--output", output, code=1)
    assert table(output)["broken"]["finished"] == "1"
    assert contents(output / "broken") == everything
    changed = {**fixed, "plain": {"overrides": {"data.per_class": 5}}}
    told = run("train.py", "study", "--config", write(variants=changed), "--output", output, code=1).stderr
    assert "plain/seed=3 was trained with other settings" in told
    shutil.rmtree(output / "plain" / "seed=3" / "target" / "checkpoints")
    shutil.rmtree(output / "plain" / "seed=3" / "reference" / "checkpoints")
    told = run("train.py", "study", "--config", write(variants=changed), "--output", output, code=1).stderr
    assert "plain/seed=3 was trained with other settings" in told  # also where only its numbers are left
    assert "overrides.data.per_class was not given, is 5" in told
    assert "Traceback" not in told
    told = run(
        "train.py", "study", "--config", write(variants=fixed, headline="ppg"), "--output", output, code=1
    ).stderr
    assert "headline 'ppg' is no metric" in told
    assert "score" in told


def processes():
    """Parent and session of each living process, by its number."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, _, session = file.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if state != "Z":
            found[int(file.parent.name)] = int(parent), int(session)
    return found


def processes_of(session):
    return [number for number, (_, own) in processes().items() if own == session]


def children_of(parent):
    return [number for number, (own, _) in processes().items() if own == parent]


def alive(number):
    return number in processes()


def start_until_trained(command, folder):
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 600
    while not (folder / "reference" / "checkpoints" / "last.ckpt").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_study_continues(number, write, tmp_path):
    output = tmp_path / "out"
    file = write(variants={"plain": {"overrides": {"trainer.max_epochs": 3}}})
    given = ["study", "--config", str(file), "--output", str(output)]
    folder = output / "plain" / "seed=3"
    process = start_until_trained([sys.executable, "train.py", *given], folder)
    sessions = children_of(process.pid)
    assert len(sessions) == 1
    process.send_signal(number)
    printed = process.communicate(timeout=600)[0]
    if number == signal.SIGKILL:  # what it had started lives on and keeps others away
        os.killpg(sessions[0], signal.SIGSTOP)  # but shall not finish meanwhile
        told = run("train.py", *given, code=1)
        assert f"error: another process is at work in {folder}" in told.stdout
        os.killpg(sessions[0], signal.SIGKILL)
    else:
        assert process.returncode == 130
        assert "the same command continues" in printed
    deadline = time.monotonic() + 300
    while processes_of(sessions[0]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_of(sessions[0])
    assert not (folder / "comparison").exists()
    first = (folder / "reference" / "checkpoints" / "epoch=0001.ckpt").stat().st_mtime_ns
    run("train.py", *given)
    assert (folder / "reference" / "checkpoints" / "epoch=0001.ckpt").stat().st_mtime_ns == first
    assert "--ckpt_path" in (folder / "log.txt").read_text()
    assert table(output)["plain"]["finished"] == "1"


@pytest.mark.slow
def test_a_target_that_stops_early_is_compared_with_the_reference_of_its_epoch(write, tmp_path):
    stop = tmp_path / "stop.yaml"
    callback = {
        "class_path": "lightning.pytorch.callbacks.EarlyStopping",
        "init_args": {"monitor": "memorization/score", "divergence_threshold": -2, "check_on_train_epoch_end": True},
    }
    stop.write_text(yaml.safe_dump({"trainer": {"callbacks+": [callback]}}))
    variant = {"target_configs": [str(stop)], "overrides": {"trainer.max_epochs": 2}}
    output = tmp_path / "out"
    run("train.py", "study", "--config", write(variants={"plain": variant}), "--output", output)
    folder = output / "plain" / "seed=3"
    last = {
        role: sorted((folder / role / "checkpoints").glob("epoch=*.ckpt"))[-1].name for role in ("target", "reference")
    }
    assert last == {"target": "epoch=0001.ckpt", "reference": "epoch=0002.ckpt"}
    found = json.loads((folder / "comparison" / "metrics.json").read_text())
    assert found["options"]["reference"] == str(folder / "reference" / "checkpoints" / "epoch=0001.ckpt")
    assert found["metrics"]["score"] == float(history(folder / "target")[-1]["score"])
    assert table(output)["plain"]["knn_top1"]


@pytest.mark.parametrize(
    ("target_ends", "restored", "expected"),
    [
        (12, None, ("last.ckpt", "last.ckpt")),
        (8, None, ("last.ckpt", "epoch=0008.ckpt")),
        (8, 4, ("epoch=0004.ckpt", "epoch=0004.ckpt")),
        (12, 4, ("epoch=0004.ckpt", "epoch=0004.ckpt")),
        (8, 8, ("last.ckpt", "epoch=0008.ckpt")),
    ],
)
def test_models_of_the_same_epoch_are_compared(target_ends, restored, expected, tmp_path):
    for role, ends in (("target", target_ends), ("reference", 12)):
        folder = tmp_path / role / "checkpoints"
        folder.mkdir(parents=True)
        for name in [*(f"epoch={epoch:04d}" for epoch in range(0, ends + 1, 4)), "last"]:
            save_after(folder / f"{name}.ckpt", ends if name == "last" else int(name[-4:]))
    if restored is not None:
        tradeoff = tmp_path / "target" / "tradeoff"
        tradeoff.mkdir()
        (tradeoff / "best.ckpt").touch()
        (tradeoff / "history.csv").write_text(f"epoch,best_epoch\n4.0,4.0\n8.0,{restored:.1f}\n")
    found = compared_checkpoints(PairFolder(tmp_path))
    assert tuple(found[role].name for role in ("target", "reference")) == expected
    assert all(found[role].parent == tmp_path / role / "checkpoints" for role in found)


def test_models_of_different_epochs_are_not_compared(tmp_path):
    kept = {"target": (4, 6, "last"), "reference": (4, 8, "last")}
    for role, names in kept.items():
        folder = tmp_path / role / "checkpoints"
        folder.mkdir(parents=True)
        for name in names:
            epoch = names[1] if name == "last" else name
            save_after(folder / (f"epoch={epoch:04d}.ckpt" if name != "last" else "last.ckpt"), epoch)
        # Of another callback, with the name that ours would have.
        save_after(folder / "epoch=9-best.ckpt", 1)
    by_hand = r"evaluate.py memorization --reference \S+reference/checkpoints/epoch=0004.ckpt --target \S+=0004.ckpt"
    told = rf"after 6 epochs, but .* \[1, 4, 6\] \(target\) and \[1, 4, 8\] \(reference\)(.|\n)*{by_hand}"
    with pytest.raises(ValueError, match=told):
        compared_checkpoints(PairFolder(tmp_path))
    # A target that a timer stopped within an epoch is compared after its last whole one.
    save_after(tmp_path / "target" / "checkpoints" / "last.ckpt", 6, batches=2)
    (tmp_path / "target" / "checkpoints" / "epoch=0006.ckpt").unlink()
    found = compared_checkpoints(PairFolder(tmp_path))
    assert [found[role].name for role in kept] == ["epoch=0004.ckpt", "epoch=0004.ckpt"]
    shutil.rmtree(tmp_path / "target" / "checkpoints")
    with pytest.raises(ValueError, match=r"target/checkpoints holds no checkpoint of a whole epoch"):
        compared_checkpoints(PairFolder(tmp_path))


def job(tmp_path, name, code):
    return Job([sys.executable, "-c", code], tmp_path / f"{name}.txt")


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_run_at_once_than_asked(at_once, tmp_path):
    spans = tmp_path / "spans"
    code = "import time; a = time.time(); time.sleep(0.3)\n"
    code += f"open({str(spans)!r}, 'a').write(f'{{a}} {{time.time()}}\\n')"
    outcomes = dict(run_jobs({name: job(tmp_path, name, code) for name in "abcd"}, JobProcess, at_once))
    assert [outcomes[name].error for name in "abcd"] == [None] * 4
    spans = [tuple(map(float, line.split())) for line in spans.read_text().splitlines()]
    assert len(spans) == 4
    assert max(sum(begin <= moment < end for begin, end in spans) for moment, _ in spans) == at_once


def test_a_failed_job_tells_its_last_error(tmp_path):
    codes = {
        "raised": "print('ValueError: earlier'); raise KeyError('late')",
        "plain": "import sys; print('error: no such thing\\nsome advice'); sys.exit(2)",
        "silent": "raise SystemExit(3)",
        "killed": "import os; os.kill(os.getpid(), 9)",
        "other": "import sys; print('gone'); sys.exit(1)",
        "nested": "print('error: Parser key \"model\":\\n  Problem:\\n    Option x'); raise SystemExit(2)",
    }
    jobs = {name: job(tmp_path, name, code) for name, code in codes.items()}
    found = {name: outcome.error for name, outcome in run_jobs(jobs, JobProcess, 5)}
    assert found == {
        "raised": "KeyError: 'late'",
        "plain": "error: no such thing",
        "silent": "ended with code 3 and said nothing",
        "killed": "killed by SIGKILL",
        "other": "gone",
        "nested": 'error: Parser key "model": Problem: Option x',
    }


STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(300)
"""


def wait_for_pids(files):
    deadline = time.monotonic() + 120
    while not all(file.is_file() and file.read_text() for file in files) and time.monotonic() < deadline:
        time.sleep(0.02)
    return [int(file.read_text()) for file in files]


def gone(pids):
    deadline = time.monotonic() + 60
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def test_a_second_interrupt_ends_the_patience_and_leaves_no_job(tmp_path, monkeypatch):
    files = [tmp_path / "a.pid", tmp_path / "b.pid"]
    jobs = {file: Job([sys.executable, "-c", STUBBORN, str(file)], tmp_path / "log.txt") for file in files}
    outcomes = run_jobs(jobs, JobProcess, 2)
    pids = []

    def interrupted(_):
        pids[:] = pids or wait_for_pids(files)
        raise KeyboardInterrupt

    # In the wait for an outcome, and in the wait for the end of each job.
    sleepless = SimpleNamespace(monotonic=time.monotonic, sleep=interrupted)
    monkeypatch.setattr("dejavu_lightning.studies.jobs.time", sleepless)
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    monkeypatch.undo()
    assert gone(pids)


def test_a_killed_job_leaves_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr("dejavu_lightning.studies.jobs.GRACE", 0.2)
    file = tmp_path / "child.pid"
    code = f"import os, subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {STUBBORN!r}, {str(file)!r}])\n"
    code += f"while not os.path.exists({str(file)!r}): time.sleep(0.02)\ntime.sleep(0.2)\nos.kill(os.getpid(), 9)"
    ((_, outcome),) = run_jobs({"killed": job(tmp_path, "killed", code)}, JobProcess, 1)
    assert outcome.error == "killed by SIGKILL"
    assert gone(wait_for_pids([file]))


def test_submitit_runs_the_jobs_and_tells_their_errors(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "1")
    jobs = {
        "good": job(tmp_path, "good", "import os; assert 'SLURM_NTASKS' not in os.environ"),
        "bad": job(tmp_path, "bad", "raise ValueError('not today')"),
    }
    asked = []
    update = submitit.AutoExecutor.update_parameters
    monkeypatch.setattr(
        submitit.AutoExecutor, "update_parameters", lambda self, **given: (asked.append(given), update(self, **given))
    )
    monkeypatch.setattr("dejavu_lightning.studies.slurm.POLL", 0.1)
    options = {"timeout_min": 5, "slurm_partition": "long"}
    outcomes = dict(run_slurm(jobs, 2, options, tmp_path / "submitit", cluster="local"))
    assert asked == [{"timeout_min": 5, "slurm_partition": "long", "slurm_array_parallelism": 2}]
    assert outcomes["good"].error is None
    assert outcomes["bad"].error == "ValueError: not today"
    with pytest.raises(ValueError, match=r"submitit refuses .*slurm_partitoin"):
        list(run_slurm(jobs, None, {"slurm_partitoin": "long"}, tmp_path / "submitit", cluster="local"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": [1, 1]}, "seeds has 1 twice"),
        ({"seeds": ["one"]}, "seeds"),
        ({"variants": {}}, "variants is empty"),
        ({"base": []}, "base is empty"),
        (
            {"curves": {"size": {"plain": 1, "large": 2}}},
            "curves.size names 'large', which is no variant; choose from plain",
        ),
        ({"curves": {"size": {"plain": 1, "broken": 1}}}, "curves.size needs two values or more"),
        ({"curves": {"a/b": {"plain": 1, "broken": 2}}}, "curves.a/b needs two values or more and a name"),
        ({"curves": {"size": {"plain": "much"}}}, "curves"),
        ({"default": "plane"}, "default 'plane' is no variant; choose from plain, broken"),
        ({"variants": {"plain": {}, 0.15: {}}}, "the variant 0.15 must be text; put it in quotes"),
        ({"variants": {"plain": None}}, "variants.plain must hold keys such as overrides"),
        ({"variants": {"plain": {"overrides": None}}}, "variants.plain: overrides must be a dict, got None"),
        ({"variants": {"plain": {"configs": "a.yaml"}}}, "variants.plain: configs must be a list, got 'a.yaml'"),
        ({"variants": {"plain": {}, "a/b": {}}}, "variant 'a/b' cannot be the name of a folder"),
        ({"variants": {"plain": {}, "..": {}}}, "variant '..' cannot be the name of a folder"),
        (
            {"variants": {"plain": {"override": {}}}},
            "variants.plain: unknown key 'override'; choose from configs, target",
        ),
        ({"sedes": []}, "unknown key 'sedes'; choose from name, base"),
        (
            {"variants": {"plain": {"overrides": {"seed_everything": 1}}}},
            "overrides 'seed_everything', which each seed",
        ),
    ],
)
def test_what_is_wrong_with_a_study_is_named(changes, told, write):
    file = write(**changes)
    with pytest.raises(ValueError, match=r"study\.yaml: ") as caught:
        read_study(file)
    assert told in str(caught.value)


def test_values_stay_as_they_are_written(write, tmp_path):
    views = [{"class_path": "dejavu_lightning.data.RandomViews", "init_args": {"image_size": 32}}]
    overrides = {"data.views": views, "model.compile": False, "model.optimizer.base_lr": "1e-3", "trainer.logger": None}
    plan = read_study(write(variants={"plain": {"overrides": overrides}}))
    (planned,) = plan_runs(plan, tmp_path, str)
    assert planned.arguments[2:6] == [
        f"--data.views={json.dumps(views)}",
        "--model.compile=false",
        "--model.optimizer.base_lr=1e-3",
        "--trainer.logger=null",
    ]
    assert planned.settings["overrides"]["data.views"] == views


def test_duplicate_names_are_told_with_their_lines(write):
    file = write()
    file.write_text(file.read_text() + "\nvariants:\n  plain: {}\n  plain: {}\n")
    with pytest.raises(ValueError, match=r"'variants' in line \d+ is already in line \d+"):
        read_study(file)
    file.write_text("variants:\n  plain: {}\n  plain: {}\n")
    with pytest.raises(ValueError, match=r"'plain' in line 3 is already in line 2"):
        read_study(file)


@pytest.mark.slow
def test_the_command_refuses_in_words(write, tmp_path):
    out = ["--output", tmp_path / "out"]
    file = write(variants={"plain": {"configs": ["configs/nowhere.yaml"]}})
    told = run("train.py", "study", "--config", file, *out, code=1).stderr
    assert f"error: {file}: no config 'configs/nowhere.yaml'" in told
    told = run("train.py", "study", "--config", file, *out, "--jobs", "0", code=2).stderr
    assert "must be a whole number of at least 1, got '0'" in told
    assert not (tmp_path / "out").exists()


def test_models_that_no_study_trained_are_left_alone(write, tmp_path):
    (runs,) = [plan_runs(read_study(write(variants={"plain": {}})), tmp_path / "out", str)]
    checkpoints = runs[0].folder / "target" / "checkpoints"
    checkpoints.mkdir(parents=True)
    refuse_changed(runs)
    (checkpoints / "last.ckpt").touch()
    with pytest.raises(ValueError, match="holds models that no study trained"):
        refuse_changed(runs)
