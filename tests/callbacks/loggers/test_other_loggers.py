"""What TensorBoard, MLflow and Comet hold after a training, read back from their own files; W&B: test_wandb.py."""

import json
import re
import warnings
import zipfile

import lightning.pytorch as pl
import pytest
from dejavu_lightning.callbacks import MemorizationMonitor, UtilityMonitor
from dejavu_lightning.callbacks.loggers.mlflow_adapter import mlflow_name
from dejavu_lightning.callbacks.publish import publish_metrics
from lightning.pytorch.loggers import CometLogger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dejavu_lightning.memorization import LabelInference
from dejavu_lightning.utility import NearestNeighborProbe
from tests.callbacks.hosts import memorization_monitor, train
from tests.models import tiny_data, tiny_trainer, tiny_vicreg

FILES = {f"epoch=000{epoch}/{role}.parquet" for epoch in (0, 1) for role in ("target", "reference", "terms")}
FILES |= {"history.csv", "classes.json"}


def utility():
    return UtilityMonitor(probes=[NearestNeighborProbe(k=5)], every_n_epochs=1)


def fit(folder, logger):
    pl.seed_everything(0, verbose=False)
    monitor = MemorizationMonitor(test=LabelInference(k=5), every_n_epochs=1)
    trainer = tiny_trainer(folder, callbacks=[monitor, utility()], logger=logger, max_epochs=1)
    trainer.fit(tiny_vicreg(), tiny_data())
    return monitor


def test_tensorboard_has_scalars_and_figures(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="", version="")
    monitor = fit(tmp_path, logger)
    logger.finalize("success")
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "scalars": 0}).Reload()
    assert [event.value for event in events.Scalars("memorization/score")] == pytest.approx(
        [row["score"] for row in monitor.history], abs=1e-6
    )
    assert len(events.Scalars("utility/knn_top1_low")) == 1
    for figure in ("curve", "gallery"):
        images = events.Images(f"memorization/{figure}")
        assert [image.step for image in images] == [event.step for event in events.Scalars("memorization/score")]
        assert images[0].width > 300


def test_mlflow_has_scalars_figures_settings_and_files(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")
    logger = MLFlowLogger(tracking_uri=f"file:{tmp_path}/mlruns")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="MLFlow only allows")
        monitor = fit(tmp_path, logger)
    client, run_id = logger.experiment, logger.run_id

    def told(key):
        return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, key)]

    steps = [step for step, _ in told("memorization/epoch")]
    assert steps == [0, 2]
    for key, name in (("score", "score"), ("score@20_low", "score_at_20_low"), ("score_p_value", "score_p_value")):
        expected = [row[key] for row in monitor.history]
        assert told(f"memorization/{name}") == list(zip(steps, expected, strict=True)), key
    run = client.get_run(run_id)
    assert run.data.metrics["memorization/final_score"] == monitor.history[-1]["score"]
    assert run.data.metrics["utility/final_knn_top1"] == run.data.metrics["utility/knn_top1"]
    assert run.data.params["split"] == "A"
    assert run.data.params["split_fingerprint"] == tiny_data().record.split_fingerprint
    artifacts = tmp_path / "mlruns" / run.info.experiment_id / run_id / "artifacts"
    found = {str(file.relative_to(artifacts / "memorization")): file for file in artifacts.glob("memorization/**/*.*")}
    assert set(found) == FILES
    for name, file in found.items():
        assert file.read_bytes() == (tmp_path / "memorization" / name).read_bytes(), name
    curves = sorted(artifacts.glob("images/memorization*curve*.png"))
    assert [int(re.search(r"step\W(\d+)", file.name)[1]) for file in curves] == steps
    assert Image.open(curves[0]).width > 300


def test_names_of_mlflow():
    assert mlflow_name("memorization/score@20_low") == "memorization/score_at_20_low"
    assert mlflow_name("m/by tags (k=5), x/ppg") == "m/by tags _k_5__ x/ppg"
    assert mlflow_name("a-b.c/d_1") == "a-b.c/d_1"


@pytest.mark.slow
def test_comet_has_scalars_figures_settings_and_files(tmp_path, monkeypatch):
    monkeypatch.setenv("COMET_START_ONLINE", "0")  # Lightning's online=False makes an experiment that keeps nothing
    monkeypatch.setenv("COMET_LOGGING_CONSOLE", "ERROR")
    logger = CometLogger(project="test", offline_directory=str(tmp_path / "comet"))
    monitor = fit(tmp_path, logger)
    logger.experiment.end()
    (file,) = (tmp_path / "comet").glob("*.zip")
    with zipfile.ZipFile(file) as archive:
        messages = [json.loads(line) for line in archive.read("messages.json").splitlines()]
        uploads = [one["payload"] for one in messages if one["type"] == "file_upload"]
        assets = {one["additional_params"].get("fileName"): archive.read(one["file_path"]) for one in uploads}
    metrics = [one["payload"]["metric"] for one in messages if one["type"] == "metric_msg"]
    for key in ("score", "score@20_low", "score_p_value"):
        values = [float(one["metricValue"]) for one in metrics if one["metricName"] == f"memorization/{key}"]
        assert values == pytest.approx([row[key] for row in monitor.history]), key
    others = {one["payload"]["key"]: one["payload"]["value"] for one in messages if one["type"] == "log_other"}
    assert float(others["memorization/final_score"]) == pytest.approx(monitor.history[-1]["score"])
    parameters = str([one["payload"] for one in messages if one["type"] == "parameter_msg"])
    assert tiny_data().record.split_fingerprint in parameters
    for name in FILES:
        assert assets[f"memorization/{name}"] == (tmp_path / "memorization" / name).read_bytes(), name
    images = [one["additional_params"] for one in uploads]
    assert [one["step"] for one in images if one.get("figName") == "memorization/curve"] == [0, 2]
    assert assets["memorization/record_table.csv"].startswith(b"id,")


class Refuses(DummyLogger):
    """As MLflow does, where a run is resumed and a parameter differs."""

    def log_hyperparams(self, *arguments, **options):
        raise RuntimeError("Changing param values is not allowed")


def test_a_logger_that_refuses_the_settings_does_not_end_a_training(tmp_path):
    monitor = memorization_monitor(data=None)
    monitor.data = Offering()
    with pytest.warns(UserWarning, match="Refuses failed and is not told of this: RuntimeError: Changing param"):
        train(tmp_path, [monitor], max_epochs=1, logger=Refuses())
    assert [row["epoch"] for row in monitor.history] == [0, 1]


class Broken(DummyLogger):
    """Takes nothing."""

    def log_metrics(self, *arguments, **options):
        raise ConnectionError("no server")


class Rows(DummyLogger):
    """Keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append(metrics)


def test_loggers_behind_one_that_raises_are_told():
    rows = Rows()
    with pytest.warns(UserWarning, match=r"memorization: Broken failed and is not told of this: ConnectionError: no s"):
        publish_metrics([Broken(), rows], "memorization", {"epoch": 1.0}, 0)
    assert rows.rows == [{"memorization/epoch": 1.0}]


def test_figures_that_cannot_be_drawn_are_not_the_loggers_fault(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dejavu_lightning.callbacks.memorization_monitor.shows_images", lambda loggers: True)
    monkeypatch.setattr("dejavu_lightning.callbacks.memorization_monitor.draw_curves", full)
    with pytest.warns(UserWarning, match="figures in memorization are missing: OSError") as warned:
        train(tmp_path, [memorization_monitor(figures=True)], max_epochs=1, logger=Rows())
    told = [str(one.message) for one in warned if str(one.message).startswith("memorization: ")]
    assert all("No space left on device" in one and "not told" not in one for one in told)


class Offering:
    def memorization_sets(self):
        from dejavu_lightning.core.split_record import SplitRecord
        from tests.callbacks.hosts import memorization_sets

        return memorization_sets(trained_on=SplitRecord("A", "f"))
