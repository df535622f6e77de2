"""Several devices, and two machines under torchrun, give the numbers of one device."""

import json
import os
import socket
import subprocess

import pytest
import yaml

from dejavu_lightning.cli.evaluation.several_devices import several_devices
from tests.commands import ROOT, TINY, command, run


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two tiny models of one recipe, on A and on B."""
    folder = tmp_path_factory.mktemp("runs")
    config = folder / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY))
    for split in ("A", "B"):
        given = ("--config", config, "--data.train_on", split, "--trainer.default_root_dir", folder / split)
        run("train.py", "fit", *given)
    return {split: folder / split / "checkpoints" / "last.ckpt" for split in ("A", "B")}


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())["metrics"]


def two_machines(*words):
    """The command under torchrun, as two machines of one process each would start it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo"}
    common = command("torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1")
    common += ["--master_addr", "127.0.0.1", "--master_port", str(port)]
    machines = [
        subprocess.Popen(
            [*common, "--node_rank", str(rank), *map(str, words)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    told = [machine.communicate(timeout=900)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], told
    return told


@pytest.mark.slow
def test_two_devices_and_two_machines_give_the_numbers_of_one(checkpoints, tmp_path):
    given = ["memorization", "--target", checkpoints["A"], "--reference", checkpoints["B"], "--device", "cpu"]
    run("evaluate.py", *given, "--symmetric", "true", "--output", tmp_path / "one")
    printed = run("evaluate.py", *given, "--symmetric", "true", "--devices", "2", "--output", tmp_path / "two").stdout
    assert printed.count("target accuracy") == 1  # the first process prints
    told = two_machines("evaluate.py", *given, "--symmetric", "true", "--output", tmp_path / "machines")
    assert ["target accuracy" in one for one in told] == [True, False]
    assert metrics(tmp_path / "two") == metrics(tmp_path / "one") == metrics(tmp_path / "machines")
    records = [(tmp_path / name / "target.parquet").read_bytes() for name in ("one", "two", "machines")]
    assert records[0] == records[1] == records[2]


@pytest.mark.slow
def test_utility_of_two_devices_is_that_of_one(checkpoints, tmp_path):
    given = ["utility", "--checkpoint", checkpoints["A"], "--device", "cpu", "--linear.epochs", "3", "--knn.k", "5"]
    run("evaluate.py", *given, "--output", tmp_path / "one.json")
    run("evaluate.py", *given, "--devices", "2", "--output", tmp_path / "two.json")
    one, two = (json.loads((tmp_path / name).read_text())["metrics"] for name in ("one.json", "two.json"))
    assert one == two


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("cpu", 0), "--devices must be at least 1, got 0"),
        (("cpu", 1, -1), "--num_nodes must be at least 1, got -1"),
        (("cpu:0", 2), "--device cpu:0 is a single one, and --devices 2 are asked for; say auto, cpu or cuda"),
        (("tpu", 1), "--device tpu cannot be used"),
    ],
)
def test_devices_that_are_not_there_are_named(given, message):
    with pytest.raises(ValueError, match=message), several_devices(*given):
        pass
