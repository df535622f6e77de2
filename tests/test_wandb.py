"""What W&B is told, read back from the offline run file."""

import json
import struct
import time

import lightning.pytorch as pl
import pytest
from dejavu_lightning.callbacks import MemorizationMonitor
from google.protobuf.message import DecodeError
from lightning.pytorch.loggers import WandbLogger
from wandb.proto import wandb_internal_pb2

from dejavu_lightning.memorization import LabelInference
from tests.models import tiny_data, tiny_trainer, tiny_vicreg


def read_run(path):
    """Messages of a .wandb file: a 7-byte header, then LevelDB log blocks of 32 KiB."""
    data, position, message = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        message += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(message)
            yield record
            message = b""


def finished_run(path):
    """All messages; W&B's own process may still be writing when ``finish`` returns."""
    deadline = time.monotonic() + 60
    while True:
        try:
            records = list(read_run(path))
        except DecodeError:
            records = []
        if any(record.HasField("exit") for record in records):
            return records
        assert time.monotonic() < deadline, f"{path} was not finished, it holds {len(records)} messages"
        time.sleep(0.2)


def items(group):
    return {(item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in group}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wandb")
    patch = pytest.MonkeyPatch()
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_SILENT", "true"), ("WANDB_DIR", str(folder))):
        patch.setenv(name, value)
    pl.seed_everything(0, verbose=False)
    monitor = MemorizationMonitor(LabelInference(k=5), every_n_epochs=1)
    logger = WandbLogger(project="test", save_dir=str(folder), offline=True)
    tiny_trainer(folder, callbacks=[monitor], logger=logger).fit(tiny_vicreg(), tiny_data())
    logger.experiment.finish()
    patch.undo()
    return monitor, finished_run(next(folder.rglob("*.wandb"))), folder


def test_metrics_stand_against_epoch(written):
    monitor, records, _ = written
    rows = [items(record.history.item) for record in records if record.HasField("history")]
    logged = [row for row in rows if "memorization/score" in row]
    assert [row["memorization/epoch"] for row in logged] == [0, 1, 2]
    assert [row["memorization/score"] for row in logged] == [row["score"] for row in monitor.history]
    steps = {r.metric.glob_name: r.metric.step_metric for r in records if r.HasField("metric") and r.metric.glob_name}
    assert steps["memorization/*"] == "memorization/epoch"


def test_config_holds_the_split_and_its_fingerprint(written):
    _, records, _ = written
    config = {}
    for record in records:
        if record.HasField("run"):
            config |= items(record.run.config.update)
        if record.HasField("config"):
            config |= items(record.config.update)
    assert config["split"] == "A"
    assert config["split_fingerprint"] == tiny_data().record.split_fingerprint


def test_figures_and_the_record_table(written):
    _, records, folder = written
    rows = {}
    for record in records:
        if record.HasField("history"):
            rows |= items(record.history.item)
    for figure in ("curve", "gallery"):
        # One picture at each of the three measurements, both told and stored.
        assert any(key.startswith(f"memorization/{figure}") for key in rows)
        assert len(list(folder.rglob(f"media/images/**/{figure}_*.png"))) == 3
    assert any(key.startswith("memorization/records") for key in rows)
    stored = json.loads(next(folder.rglob("records_*.table.json")).read_text())
    assert {"id", "label", "predicted", "correct"} <= set(stored["columns"])
    assert len(stored["data"]) == 40


def test_summary(written):
    monitor, records, _ = written
    summary = {}
    for record in records:
        if record.HasField("summary"):
            summary |= items(record.summary.update)
    assert summary["memorization/final_score"] == monitor.history[-1]["score"]
    assert summary["memorization/highest_score"] == max(row["score"] for row in monitor.history)
