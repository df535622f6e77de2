import csv

import lightning.pytorch as pl
import pytest
import pytorch_lightning
import torch
from dejavu_lightning.callbacks import EpochCheckpoint, MemorizationMonitor
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from dejavu_lightning.memorization import Checkpoint, HeldOut, LabelInference, MemorizationSets, Records
from dejavu_lightning.runs.checkpoints import completed_epochs, load_checkpoint
from tests.models import HostModule, Pairs, tiny_data, tiny_trainer, tiny_vicreg


def host_sets(**options):
    settings = {"attack": Pairs(30, 1), "public": Pairs(60, 2), "num_classes": 10, "other_split": Pairs(40, 3)}
    return MemorizationSets(**{**settings, **options})


def host_monitor(**options):
    settings = {
        "test": LabelInference(k=5, batch_size=16),
        "data": host_sets(),
        "encode": "backbone",
        "every_n_epochs": 1,
    }
    return MemorizationMonitor(**{**settings, **options})


def train_host(folder, callbacks, trainer=pl.Trainer, **options):
    pl.seed_everything(0, verbose=False)
    module = HostModule()
    tiny_trainer(folder, trainer, callbacks=callbacks, **options).fit(
        module, DataLoader(Pairs(40, 0), batch_size=10, shuffle=True)
    )
    return module


@pytest.mark.parametrize("trainer", [pl.Trainer, pytorch_lightning.Trainer])
def test_training_is_bitwise_what_it_is_without(tmp_path, trainer):
    if trainer is pytorch_lightning.Trainer:
        base = type(
            "Host", (pytorch_lightning.LightningModule,), {k: v for k, v in vars(HostModule).items() if k[0] != "_"}
        )
    with_monitor = train_host(tmp_path, [host_monitor()]) if trainer is pl.Trainer else None
    if trainer is pytorch_lightning.Trainer:

        class Host(base):
            def __init__(self):
                super().__init__()
                source = HostModule()
                self.backbone, self.head = source.backbone, source.head

        def run(callbacks):
            pl.seed_everything(0, verbose=False)
            module = Host()
            tiny_trainer(tmp_path, trainer, callbacks=callbacks).fit(
                module, DataLoader(Pairs(40, 0), batch_size=10, shuffle=True)
            )
            return module

        monitor = host_monitor()
        with_monitor, without = run([monitor]), run([])
        assert [row["epoch"] for row in monitor.history] == [0, 1, 2]
    else:
        without = train_host(tmp_path, [])
    for name, value in without.state_dict().items():
        assert torch.equal(value, with_monitor.state_dict()[name]), name


def test_modes_and_buffers_are_restored_even_if_encoding_disturbs_them(tmp_path):
    def rude(module, images):
        module.train()
        torch.rand(3)
        return module.backbone(images)

    rude_monitor = train_host(tmp_path, [host_monitor(encode=rude)])
    without = train_host(tmp_path, [])
    for name, value in without.state_dict().items():
        assert torch.equal(value, rude_monitor.state_dict()[name]), name


@pytest.mark.parametrize("encode", ["backbone", "backbone.forward", lambda module, images: module.backbone(images)])
def test_three_ways_to_say_what_encodes(tmp_path, encode):
    monitor = host_monitor(encode=encode)
    train_host(tmp_path, [monitor], max_epochs=1)
    assert [row["epoch"] for row in monitor.history] == [0, 1]
    assert monitor.history[0]["records"] == 30


def test_the_neighbours_that_nobody_gave_are_told(tmp_path, caplog):
    caplog.set_level("INFO")
    train_host(tmp_path, [host_monitor(test=LabelInference())], max_epochs=1)
    assert "memorization: 30 records, 60 public samples; k = 6 neighbours, as no k was given" in caplog.text


def test_schedule_runs_at_start_on_cadence_and_at_the_end(tmp_path, caplog):
    caplog.set_level("INFO")
    monitor = host_monitor(every_n_epochs=2, encode=None)
    train_host(tmp_path, [monitor], max_epochs=3)
    assert [row["epoch"] for row in monitor.history] == [0, 2, 3]
    assert "memorization: 30 records, 60 public samples; encoded by its 'backbone'" in caplog.text  # k was given
    with (tmp_path / "memorization" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["score"]) for row in rows] == [row["score"] for row in monitor.history]
    assert len(Records.load(tmp_path / "memorization" / "epoch=0003" / "target.parquet")) == 30
    assert (tmp_path / "memorization" / "curve.png").stat().st_size > 10_000
    assert monitor._active is None
    last, files = monitor.history[-1], tmp_path / "memorization"
    between = f"[{last['score_low']:+.3f}, {last['score_high']:+.3f}]"
    assert f"memorization: déjà vu score {last['score']:+.3f} {between}, p" in caplog.text
    assert f"after 3 epochs: curve.png, history.csv in {files}" in caplog.text
    assert f"page: dejavu-lightning report {tmp_path} --output {files / 'report.html'}" in caplog.text


def test_values_can_be_monitored_by_lightnings_own_callbacks(tmp_path):
    stop = pl.callbacks.EarlyStopping(
        "memorization/score", stopping_threshold=-1.0, mode="max", check_on_train_epoch_end=True
    )
    monitor = host_monitor()
    train_host(tmp_path, [monitor, stop], max_epochs=5)
    assert [row["epoch"] for row in monitor.history] == [0, 1]


def test_subsamples_are_balanced_seeded_and_reported(tmp_path):
    monitor = host_monitor(max_records=10, max_public=20)
    train_host(tmp_path, [monitor], max_epochs=1)
    assert monitor.history[-1]["records"] == 10
    assert monitor.history[-1]["public"] == 20
    one, other, again = (host_sets().subsample(10, 20, seed).attack.positions.tolist() for seed in (0, 1, 0))
    assert one == again != other
    assert sorted(position % 10 for position in one) == list(range(10))


def test_resume_continues_the_curve(tmp_path):
    def fit(folder, epochs, checkpoint=None):
        pl.seed_everything(0, verbose=False)
        monitor = MemorizationMonitor(test=LabelInference(k=5), every_n_epochs=1)
        saver = EpochCheckpoint(every_n_epochs=1)
        trainer = tiny_trainer(folder, max_epochs=epochs, callbacks=[monitor, saver], enable_checkpointing=True)
        trainer.fit(tiny_vicreg(), tiny_data(), ckpt_path=checkpoint)
        return monitor

    fit(tmp_path, 2)
    resumed = fit(tmp_path, 3, tmp_path / "checkpoints" / "last.ckpt")
    assert [row["epoch"] for row in resumed.history] == [0, 1, 2, 3]


def test_the_reference_of_each_epoch_is_taken_from_a_directory(tmp_path):
    def fit(split, folder, reference):
        pl.seed_everything(0, verbose=False)
        monitor = MemorizationMonitor(test=LabelInference(k=5), reference=reference, every_n_epochs=1)
        trainer = tiny_trainer(
            folder, callbacks=[monitor, EpochCheckpoint(every_n_epochs=1)], enable_checkpointing=True
        )
        trainer.fit(tiny_vicreg(), tiny_data(split))
        return monitor

    fit("B", tmp_path / "b", HeldOut())
    monitor = fit("A", tmp_path / "a", Checkpoint(tmp_path / "b" / "checkpoints"))
    # Both start from the same weights: nothing can be memorized, record by record.
    assert monitor.history[0]["score"] == monitor.history[0]["memorized"] == 0
    assert monitor.history[0]["score_low"] <= 0 <= monitor.history[0]["score_high"]
    assert monitor.history[-1]["memorized"] + monitor.history[-1]["misrepresented"] > 0
    assert {"net_score", "control_score_low", "control_score_high"} <= monitor.history[-1].keys()

    with pytest.raises(ValueError, match="trained on split 'B', like the target"):
        fit("B", tmp_path / "c", Checkpoint(tmp_path / "b" / "checkpoints"))
    (tmp_path / "b" / "checkpoints" / "epoch=0001.ckpt").unlink()
    with pytest.raises(ValueError, match=r"no checkpoint of epochs \[1\], only of epochs \[0, 2\]"):
        fit("A", tmp_path / "d", Checkpoint(tmp_path / "b" / "checkpoints"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encode": "encoder"}, r"HostModule has no 'encoder' to encode with .* a dotted attribute path of it"),
        ({"encode": "backbonne"}, "has no 'backbonne'"),
        ({"data": None}, r"found no data: give data=MemorizationSets"),
        ({"data": host_sets(other_split=None)}, "HeldOut.* needs 'other_split'"),
        ({"data": host_sets(num_classes=7)}, r"label 7 of 'public/7' \(public set\) lies outside \[0, 7\)"),
        ({"test": LabelInference(k=61)}, "k=61 exceeds the public set of 60 images; lower k"),
        ({"data": host_sets(attack=Pairs(0, 0))}, "the attack set is empty"),
        ({"reference": Checkpoint("nowhere")}, "nowhere is neither a file nor a directory"),
        (
            {"encode": lambda module, images: module.backbone(images) * torch.nan},
            r"embedding of 'public/0' \(public set\) holds NaN",
        ),
        ({"encode": lambda module, images: images}, r"must return embeddings of shape \(B, D\)"),
    ],
)
def test_bad_input_is_named_before_training(tmp_path, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train_host(tmp_path, [host_monitor(**options)])


def test_bad_arguments():
    with pytest.raises(ValueError, match="every_n_epochs must be at least 1, got 0"):
        MemorizationMonitor(every_n_epochs=0)


def test_two_monitors_keep_their_states_apart():
    assert MemorizationMonitor().state_key != MemorizationMonitor(name="memorization_backbone").state_key


def test_the_last_checkpoint_is_renewed_where_the_cadence_is_slow(tmp_path):
    for minutes, expected in ((0.0, 2), (1e6, 0)):
        seen = []

        class Watch(Callback):
            def on_train_epoch_start(self, trainer, module, seen=seen, folder=tmp_path / str(minutes)):
                last = folder / "last.ckpt"
                seen.append(last.is_file() and completed_epochs(load_checkpoint(last)))

        checkpoint = EpochCheckpoint(every_n_epochs=10, dirpath=str(tmp_path / str(minutes)), minutes=minutes)
        options = {"max_epochs": 3, "enable_checkpointing": True, "callbacks": [checkpoint, Watch()]}
        tiny_trainer(tmp_path, **options).fit(tiny_vicreg(), datamodule=tiny_data())
        assert seen[-1] == expected
