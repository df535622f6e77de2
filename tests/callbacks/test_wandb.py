"""What W&B is told, read back from the offline run files."""

import json
import struct
import time
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
from dejavu_lightning.callbacks import (
    EpochCheckpoint,
    MemorizationMonitor,
    RandomState,
    ResumableWandbLogger,
    UtilityMonitor,
    WandbRunId,
    wandb_run_id,
)
from google.protobuf.message import DecodeError
from lightning.pytorch.loggers import WandbLogger
from wandb.proto import wandb_internal_pb2

from dejavu_lightning.cli.configs import find_config
from dejavu_lightning.cli.pair import pair
from dejavu_lightning.memorization import LabelInference
from dejavu_lightning.runs.checkpoints import load_checkpoint
from dejavu_lightning.utility import NearestNeighborProbe
from tests.commands import run
from tests.models import save_after, tiny_data, tiny_trainer, tiny_vicreg


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
def offline(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wandb")
    patch = pytest.MonkeyPatch()
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR", "WANDB_ARTIFACT_DIR"):
        patch.setenv(name, str(folder))
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_SILENT", "true")):
        patch.setenv(name, value)
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def written(offline):
    pl.seed_everything(0, verbose=False)
    monitors = [MemorizationMonitor(test=LabelInference(k=5), every_n_epochs=1), utility_monitor()]
    logger = WandbLogger(project="test", save_dir=str(offline / "one"), offline=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_RUN_GROUP", "a pair")
        patch.setenv("WANDB_JOB_TYPE", "target")
        tiny_trainer(offline / "one", callbacks=monitors, logger=logger).fit(tiny_vicreg(), tiny_data())
        logger.experiment.finish()
    return monitors[0], finished_run(next((offline / "one").rglob("*.wandb"))), offline / "one"


def utility_monitor():
    return UtilityMonitor(probes=[NearestNeighborProbe(k=5)], every_n_epochs=1)


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
    assert any(key.startswith("memorization/record_table") for key in rows)
    stored = json.loads(next(folder.rglob("record_table_*.table.json")).read_text())
    assert {"id", "label", "predicted", "correct"} <= set(stored["columns"])
    assert len(stored["data"]) == 40


def test_media_and_tables_stand_beside_their_epoch(written):
    """What the slider of a media panel goes by is in the same row."""
    _, records, _ = written
    rows = [items(record.history.item) for record in records if record.HasField("history")]
    for key in ("memorization/curve", "memorization/gallery", "memorization/most_memorized"):
        told = [row for row in rows if key in row or f"{key}._type" in row]
        assert [row["memorization/epoch"] for row in told] == [0, 1, 2], key


def artifacts(records, kind):
    """Of each artifact of a kind its name and, by the path in it, the file."""
    logged = [record.request.log_artifact.artifact for record in records if record.request.HasField("log_artifact")]
    logged += [record.artifact for record in records if record.HasField("artifact")]
    return [
        (artifact.name, {content.path: Path(content.local_path) for content in artifact.manifest.contents})
        for artifact in logged
        if artifact.type == kind
    ]


def test_a_table_with_pictures_at_every_measurement(written):
    _, records, _ = written
    name = "memorization/most_memorized.table.json"
    found = [files for _, files in artifacts(records, "run_table") if name in files]
    assert len(found) == 3
    for files in found:
        table = json.loads(files[name].read_text())
        assert table["columns"][:5] == ["id", "correct", "record", "what the test saw", "target neighbor 1"]
        assert table["data"]
        for _, label, record, seen, neighbor, *_ in table["data"]:
            assert record["caption"] == label
            assert (record["width"], record["height"]) == (32, 32)
            assert seen["width"] < 32 or seen["height"] < 32
            for picture in (record, seen, neighbor):
                assert files[picture["path"]].read_bytes().startswith(b"\x89PNG")


def test_the_record_tables_are_an_artifact(written):
    _, records, folder = written
    ((name, files),) = artifacts(records, "records")
    assert name.startswith("memorization-records-")
    assert set(files) == {f"epoch=000{n}/{role}.parquet" for n in range(3) for role in ("target", "reference", "terms")}
    for path, file in files.items():
        assert file.read_bytes() == (folder / "memorization" / path).read_bytes()


def test_the_group_of_a_pair(written):
    _, records, _ = written
    (told,) = [record.run for record in records if record.HasField("run")][:1]
    assert (told.run_group, told.job_type) == ("a pair", "target")


def test_summary(written):
    monitor, records, _ = written
    summary = {}
    for record in records:
        if record.HasField("summary"):
            summary |= items(record.summary.update)
    told = [items(record.summary.update) for record in records if record.HasField("summary")]
    told = [one["memorization/final_score"] for one in told if "memorization/final_score" in one]
    assert told[:3] == [row["score"] for row in monitor.history]  # from the first measurement on
    assert summary["memorization/final_score"] == monitor.history[-1]["score"]
    assert summary["memorization/highest_score"] == max(row["score"] for row in monitor.history)
    accuracy = [items(record.history.item).get("utility/knn_top1") for record in records if record.HasField("history")]
    accuracy = [value for value in accuracy if value is not None]
    assert len(accuracy) == 2
    assert summary["utility/final_knn_top1"] == accuracy[-1]
    assert summary["utility/highest_knn_top1"] == max(accuracy)
    assert summary["utility/highest_knn_top1_epoch"] == 1 + accuracy.index(max(accuracy))


class Crash(pl.Callback):
    """After the measurement of epoch 3, before anything of it is saved."""

    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch == 2:
            raise KeyError("power cut")


def logged_fit(folder, epochs=4, resumed=None, crash=False):
    pl.seed_everything(0, verbose=False)
    run_id = wandb_run_id(load_checkpoint(resumed)) if resumed else None
    logger = ResumableWandbLogger(project="test", save_dir=str(folder), offline=True, id=run_id)
    monitors = [MemorizationMonitor(test=LabelInference(k=5), every_n_epochs=1, figures=False), utility_monitor()]
    callbacks = [*monitors, *([Crash()] if crash else []), EpochCheckpoint(2), RandomState(), WandbRunId()]
    settings = {"callbacks": callbacks, "max_epochs": epochs, "log_every_n_steps": 1, "enable_checkpointing": True}
    trainer = tiny_trainer(folder, logger=logger, **settings)
    try:
        trainer.fit(tiny_vicreg(), tiny_data(), ckpt_path=resumed)
    finally:
        logger.experiment.finish()
    return logger.version


def rows_of(folder):
    """What the files of all starts say, in the order of writing: W&B's step, and the values."""
    files = sorted(folder.rglob("*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    histories = [record.history for path in files for record in finished_run(path) if record.HasField("history")]
    return [(history.step.num, items(history.item)) for history in histories]


def test_a_resumed_run_is_the_same_and_tells_no_step_twice(offline):
    whole, cut = offline / "whole", offline / "cut"
    logged_fit(whole)
    with pytest.raises(KeyError, match="power cut"):
        logged_fit(cut, crash=True)
    before = [row["memorization/epoch"] for _, row in rows_of(cut) if "memorization/epoch" in row]
    assert before == [0, 1, 2, 3]  # more than the checkpoint of epoch 2 knows
    last = cut / "checkpoints" / "last.ckpt"
    run_id = logged_fit(cut, resumed=last)
    names = [path.stem for path in cut.rglob("*.wandb")]
    assert names == [f"run-{run_id}"] * 2
    expected, found = rows_of(whole), rows_of(cut)
    steps = [step for step, _ in found]
    assert steps == sorted(set(steps))
    for key in ("memorization/score", "memorization/records", "utility/knn_top1", "train/loss"):
        told = [(row["trainer/global_step"], row[key]) for _, row in found if key in row]
        assert told == [(row["trainer/global_step"], row[key]) for _, row in expected if key in row], key
        assert len(told) >= 4


def test_a_pair_is_a_group_that_the_user_may_name(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(
        "dejavu_lightning.cli.pair.subprocess.run",
        lambda command, env, check: told.append(env) or SimpleNamespace(returncode=0),
    )
    for folder in ("runs", "other"):
        for role in ("reference", "target"):
            (tmp_path / folder / role / "checkpoints").mkdir(parents=True)
            save_after(tmp_path / folder / role / "checkpoints" / "last.ckpt", 2)
    monkeypatch.delenv("WANDB_RUN_GROUP", raising=False)
    monkeypatch.delenv("WANDB_JOB_TYPE", raising=False)
    pair(["pair", "--output", str(tmp_path / "runs"), "--resume"])
    assert [env.get("WANDB_JOB_TYPE") for env in told] == ["reference", "target", None]
    groups = {env["WANDB_RUN_GROUP"] for env in told[:2]}
    assert len(groups) == 1
    assert groups.pop().startswith("runs-")
    (tmp_path / "runs" / "target" / "finished").unlink()
    pair(["pair", "--output", str(tmp_path / "runs"), "--resume"])
    assert told[3]["WANDB_RUN_GROUP"] == told[0]["WANDB_RUN_GROUP"]
    monkeypatch.setenv("WANDB_RUN_GROUP", "mine")
    pair(["pair", "--output", str(tmp_path / "other"), "--resume"])
    assert [env["WANDB_RUN_GROUP"] for env in told[-3:-1]] == ["mine"] * 2


@pytest.mark.slow
def test_the_command_continues_the_run_of_its_folder(config, offline):
    overlay = find_config("configs/loggers/wandb.yaml")
    folder = offline / "command"
    last = folder / "checkpoints" / "last.ckpt"
    arguments = ("train.py", "fit", "--config", config, "--config", overlay, "--trainer.log_every_n_steps", "1")
    run(*arguments, "--trainer.default_root_dir", folder)
    longer = (*arguments, "--trainer.max_epochs", "3", "--ckpt_path", last)
    run(*longer, "--trainer.default_root_dir", folder)
    run_id = wandb_run_id(load_checkpoint(last))
    assert [path.stem for path in folder.rglob("*.wandb")] == [f"run-{run_id}"] * 2
    told = [row["memorization/epoch"] for _, row in rows_of(folder) if "memorization/score" in row]
    assert told == [0, 1, 2, 3]
    # From another folder's checkpoint begins another run.
    run(*longer, "--trainer.max_epochs", "4", "--trainer.default_root_dir", offline / "branch")
    (branch,) = (offline / "branch").rglob("*.wandb")
    assert branch.stem != f"run-{run_id}"
