"""On a real SLURM of two nodes: arrays, requeueing by the time limit, a node that dies, scancel and studies."""

import copy
import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
import yaml

from tests.commands import ROOT, TINY, history
from tests.slurm_cluster import ENDED, LACKING, slurm_cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=f"needs Debian's slurm-wlm and munge: there is no {', '.join(LACKING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd needs root"),
]
EPOCHS = 12
SMALL = ("--ntasks-per-node=1", "--gpus-per-node=0", "--cpus-per-task=1", "--signal=SIGUSR1@30")


def write_config(file: Path, seconds: float) -> Path:
    """A tiny run on CPUs, each batch of which waits so long."""
    config = copy.deepcopy(TINY)
    slow = {"class_path": "tests.slurm_cluster.Slow", "init_args": {"seconds": seconds}}
    plain = {"precision": "32-true", "benchmark": False, "sync_batchnorm": False, "devices": 1}
    config["trainer"] |= {**plain, "max_epochs": EPOCHS, "callbacks": [slow]}
    config["model"]["init_args"] |= {"compile": False, "channels_last": False}
    views = {"class_path": "dejavu_lightning.data.RandomViews", "init_args": {"image_size": 32}}
    loading = {"num_workers": 0, "pin_memory": False, "persistent_workers": False}
    sizes = {"batch_size": 4, "num_classes": 10, "storage_size": 32, "validation_per_class": 0, "image_size": 32}
    config["data"]["init_args"] |= {**loading, **sizes, "views": views}
    config["memorization"]["every_n_epochs"] = 4
    config["memorization"]["test"]["init_args"]["num_workers"] = 0
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as running:
        running.environment["PATH"] = f"{Path(sys.executable).parent}:{running.environment['PATH']}"
        running.environment["PYTHONPATH"] = str(ROOT)
        yield running


@pytest.fixture(scope="module")
def whole(tmp_path_factory, cluster):
    """The same recipe, left alone, on both splits."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = ["configs/methods/vicreg.yaml", "configs/data/imagenet.yaml"]
    configs = [
        part for config in [*recipe, write_config(folder / "fast.yaml", 0.0)] for part in ("--config", str(config))
    ]
    environment = {key: value for key, value in cluster.environment.items() if not key.startswith("SLURM")}
    for split in ("A", "B"):
        command = [sys.executable, "train.py", "fit", *configs, "--data.train_on", split, "--trainer.strategy", "ddp"]
        command += ["--trainer.default_root_dir", str(folder / split)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=900)
    return folder


def submit(cluster, folder, *options, seconds=0.15):
    """Submit examples/slurm.sh with the tiny recipe; the job's number."""
    folder.mkdir(exist_ok=True)
    cluster.environment["RUNS"] = str(folder)
    log = f"--output={folder}/log-%a.txt"
    config = write_config(folder / "slow.yaml", seconds)
    given = [*SMALL, log, *options, "examples/slurm.sh", "--config", config]
    return cluster.run("sbatch", "--parsable", *given, cwd=ROOT)


def told(folder):
    return "\n".join(file.read_text() for file in folder.glob("log-*.txt"))


def same_run(one, other):
    """Bitwise the same weights, and the same curve."""
    states = [
        torch.load(run / "checkpoints" / f"epoch={EPOCHS:04d}.ckpt", weights_only=True)["state_dict"]
        for run in (one, other)
    ]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert history(one) == history(other)


def wait(cluster, job, states, seconds, runs):
    """Wait for a job's states; what it printed where it gets into others."""
    try:
        cluster.wait(job, states, seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{told(runs)}") from None


def wait_for(file, cluster, job, runs, seconds=600):
    """Wait for a file of a job, as long as the job goes on."""
    deadline = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not appear: {told(runs)}"
        assert not cluster.states(job) & ENDED, f"{file} did not appear: {told(runs)}"
        time.sleep(0.5)


def test_both_splits_as_an_array_requeued_by_the_time_limit_end_bitwise_as_if_left_alone(cluster, whole, tmp_path):
    runs = tmp_path / "runs"
    job = submit(cluster, runs, "--time=3", "--signal=SIGUSR1@70", seconds=1.1)
    wait(cluster, job, {"COMPLETED"}, 900, runs)
    log = told(runs)
    for file in runs.glob("log-*.txt"):
        assert "requeued after SIGUSR1" in file.read_text(), log
    assert "Traceback" not in log
    for split in ("A", "B"):
        same_run(whole / split, runs / split)
        assert not list((runs / split).glob("hpc_ckpt_*"))  # last.ckpt is the end of the run


def test_a_run_whose_node_dies_goes_on_on_another(cluster, whole, tmp_path):
    runs = tmp_path / "runs"
    job = submit(cluster, runs, "--array=0", "--time=10", "--nodes=1", seconds=0.15)
    wait_for(runs / "A" / "checkpoints" / "epoch=0004.ckpt", cluster, job, runs)
    node = cluster.run("squeue", "-h", "-j", job, "-o", "%N")
    cluster.stop(f"slurmd-{node}")
    found = subprocess.run(["pgrep", "-f", f"slurmstepd: .{job}|{runs}/A"], capture_output=True, text=True, check=True)
    for process in found.stdout.split():
        with suppress(ProcessLookupError):  # one that ended with its parent
            os.kill(int(process), signal.SIGKILL)
    try:
        cluster.wait(job, {"RUNNING"}, 10)  # as far as the controller knows
        deadline = time.monotonic() + 900
        while cluster.run("squeue", "-h", "-j", job, "-o", "%N") == node:
            assert time.monotonic() < deadline, cluster.run("scontrol", "show", "job", job)
            time.sleep(0.5)
        wait(cluster, job, {"COMPLETED"}, 900, runs)
    finally:
        cluster.start_node(node)
    same_run(whole / "A", runs / "A")


def test_a_run_that_is_cancelled_and_submitted_again_ends_bitwise_as_if_left_alone(cluster, whole, tmp_path):
    runs = tmp_path / "runs"
    job = submit(cluster, runs, "--array=1", "--time=10", seconds=0.15)
    wait_for(runs / "B" / "checkpoints" / "epoch=0004.ckpt", cluster, job, runs)
    cluster.run("scancel", job)
    cluster.wait(job, {"CANCELLED"}, 60)
    again = submit(cluster, runs, "--array=1", "--time=10", seconds=0.0)
    wait(cluster, again, {"COMPLETED"}, 200, runs)
    same_run(whole / "B", runs / "B")


def test_two_nodes_train_as_two_processes_of_one_machine(cluster, tmp_path):
    """Statistics of batch norms differ between ranks, so the peer is two processes too."""
    config = write_config(tmp_path / "tiny.yaml", 0.0)
    stack = ["--config", str(config), "--trainer.max_epochs", "4"]
    fit = [
        "python",
        "train.py",
        "fit",
        "--config",
        "configs/methods/vicreg.yaml",
        "--config",
        "configs/data/imagenet.yaml",
    ]
    common = ["--trainer.strategy", "ddp", "--trainer.default_root_dir"]
    nodes = [
        *fit,
        "--config",
        "configs/trainer/slurm.yaml",
        *stack,
        "--trainer.num_nodes",
        "2",
        *common,
        tmp_path / "nodes",
    ]
    cluster.run("srun", "--nodes=2", "--ntasks-per-node=1", *nodes, cwd=ROOT)
    local = [*fit, *stack, *common, tmp_path / "local", "--trainer.devices", "2"]
    environment = {key: value for key, value in cluster.environment.items() if not key.startswith("SLURM")}
    subprocess.run([*map(str, local)], cwd=ROOT, env=environment, check=True, capture_output=True, timeout=900)
    files = [tmp_path / name / "checkpoints" / "epoch=0004.ckpt" for name in ("nodes", "local")]
    states = [torch.load(file, weights_only=True)["state_dict"] for file in files]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert history(tmp_path / "nodes") == history(tmp_path / "local")


def test_two_nodes_that_are_requeued_end_bitwise_as_if_left_alone(cluster, tmp_path):
    nodes = ("--array=0", "--nodes=2", "--time=10")
    runs, alone = tmp_path / "runs", tmp_path / "alone"
    job = submit(cluster, runs, *nodes, seconds=0.3)
    wait_for(runs / "A" / "checkpoints" / "epoch=0004.ckpt", cluster, job, runs)
    cluster.run("scancel", "--signal=USR1", job)  # what the time limit sends to every process
    wait(cluster, job, {"COMPLETED"}, 400, runs)
    assert "requeued after SIGUSR1" in told(runs)
    assert "Traceback" not in told(runs)
    wait(cluster, submit(cluster, alone, *nodes, seconds=0.0), {"COMPLETED"}, 400, alone)
    assert "requeued" not in told(alone)
    same_run(alone / "A", runs / "A")
    assert not list((runs / "A").glob("hpc_ckpt_*"))


def test_two_nodes_measure_as_one_device(cluster, whole, tmp_path):
    target, reference = (whole / split / "checkpoints" / "last.ckpt" for split in ("A", "B"))
    commands = {
        "memorization": ["--target", target, "--reference", reference],
        "utility": ["--checkpoint", target, "--linear.epochs", "3", "--knn.k", "5"],
    }
    environment = {key: value for key, value in cluster.environment.items() if not key.startswith("SLURM")}
    found = {}
    for name, given in commands.items():
        evaluate = ["python", "evaluate.py", name, *given, "--device", "cpu", "--output"]
        outputs = [tmp_path / name / where for where in ("nodes", "one")]
        two = ["--devices", "1", "--num_nodes", "2"]
        tasks = ("--nodes=2", "--ntasks-per-node=1")
        (tmp_path / name).mkdir()
        cluster.run("srun", *tasks, *evaluate, outputs[0], *two, cwd=ROOT, seconds=400)
        alone = [str(word) for word in (*evaluate, outputs[1])]
        subprocess.run(alone, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=900)
        files = [output / "metrics.json" if output.is_dir() else output for output in outputs]
        found[name] = [json.loads(file.read_text())["metrics"] for file in files]
    assert found["memorization"][0] == found["memorization"][1]
    assert found["utility"][0] == found["utility"][1]


def test_a_study_runs_on_the_cluster(cluster, tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY | {"trainer": TINY["trainer"] | {"max_epochs": 1}}))
    study = {
        "name": "tiny",
        "base": [str(tmp_path / "tiny.yaml")],
        "default": "plain",
        "seeds": [3],
        "seed_keys": ["seed_everything", "data.split_seed", "data.source.seed"],
        "variants": {"plain": {}, "decay": {"overrides": {"model.optimizer.weight_decay": 0.1}}},
        "slurm": {"timeout_min": 10, "cpus_per_task": 1},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    command = ["python", "train.py", "study", "--config", tmp_path / "study.yaml", "--launcher", "slurm"]
    printed = cluster.run(*command, "--output", tmp_path / "out", cwd=ROOT, seconds=400)
    assert "decay" in printed
    with (tmp_path / "out" / "table.csv").open(newline="") as file:
        rows = {row["variant"]: row["finished"] for row in csv.DictReader(file)}
    assert rows == {"plain": "1", "decay": "1"}
    assert "COMPLETED" in cluster.run("squeue", "-a", "-h", "-t", "all", "-n", "submitit", "-o", "%T")
