"""Trainings of Hugging Face's Trainer that share an output folder, each with a curve of its own."""

import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from dejavu_lightning.hosts.transformers_callback import MemorizationCallback
from dejavu_lightning.memorization import LabelInference
from dejavu_lightning.runs.history import read_history
from tests.callbacks.hosts import memorization_sets
from tests.models import Pairs


class Linear(nn.Module):
    """A classifier of flat pictures, which gives its loss as the Trainer takes it."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(Pairs(1, 0)[0][0].numel(), 8))
        self.head = nn.Linear(8, 10)

    def forward(self, images, labels):
        return {"loss": nn.functional.cross_entropy(self.head(self.backbone(images)), labels)}


def collate(samples):
    images, labels = zip(*samples, strict=True)
    return {"images": torch.stack(images), "labels": torch.tensor(labels)}


def fit(folder, seed, epochs, resumed=None, report_to=()):
    torch.manual_seed(seed)
    options = {"report_to": list(report_to), "save_strategy": "epoch", "logging_strategy": "no", "disable_tqdm": True}
    options |= {"per_device_train_batch_size": 10, "use_cpu": True, "num_train_epochs": epochs, "learning_rate": 0.01}
    trainer = Trainer(
        Linear(), TrainingArguments(str(folder), **options), data_collator=collate, train_dataset=Pairs(40, 0)
    )
    callback = MemorizationCallback(trainer, memorization_sets(), "backbone", test=LabelInference(k=5, batch_size=16))
    trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=resumed)
    return callback.history


def test_a_resumed_training_goes_on_with_its_own_curve(tmp_path):
    own, second = tmp_path / "memorization", tmp_path / "version_1" / "memorization"
    first = fit(tmp_path, 0, 2)
    assert [row["epoch"] for row in first] == [0, 1, 2]
    begun = fit(tmp_path, 1, 2)
    assert begun != first
    assert read_history(second) == begun
    went_on = fit(tmp_path, 1, 3, str(tmp_path / "checkpoint-8"))  # 4 steps an epoch
    assert went_on[:3] == begun
    assert [row["epoch"] for row in went_on] == [0, 1, 2, 3]
    assert read_history(second) == went_on
    assert read_history(own) == first
    # In a folder that has other curves alone, what the checkpoint's log tells is the curve.
    (second / "history.csv").unlink()
    assert fit(tmp_path, 1, 3, str(tmp_path / "checkpoint-8"))[:3] == begun
    assert [row["epoch"] for row in read_history(second)] == [0, 1, 2, 3]
    assert read_history(own) == first


def test_the_trainer_s_tensorboard_gets_the_scalars(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    history = fit(tmp_path / "out", 0, 2, report_to=["tensorboard"])
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    scores = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"] if tag.endswith("memorization/score")}
    ((_, found),) = scores.items()
    assert [round(event.value, 6) for event in found] == [round(row["score"], 6) for row in history]
    assert [event.step for event in found] == [0, 4, 8]
