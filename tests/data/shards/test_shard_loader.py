"""Training from shards: every sample exactly once an epoch."""

import json
import os
import subprocess
from collections import Counter

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from dejavu_lightning.data.shards.hash_splits import HashSplits
from tests.forks import ROOT, interpreter
from tests.shards import (
    HALVES,
    UNEVEN,
    Recorder,
    epoch_of,
    ids_of,
    jpeg,
    members,
    sample,
    shard_data,
    write_shard,
    write_shards,
)


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("workers", [0, 1, 2, 3, 9])
def test_every_sample_exactly_once_an_epoch(shards, ranks, workers):
    data = shard_data(shards, fractions=HALVES, batch_size=2, shuffle_buffer=3)
    expected = members(shards, "A", data.splits)
    assert len(expected) > 3 * len(UNEVEN)
    orders = []
    for epoch in range(2):
        shown = epoch_of(data, epoch, ranks, workers)
        exposures = Counter(key for batches in shown for batch in batches for key in batch)
        assert exposures == dict.fromkeys(expected, 1)
        assert {len(batches) for batches in shown} == {-(-len(expected) // (2 * ranks))}
        for step in zip(*shown, strict=True):
            sizes = [len(batch) for batch in step]
            assert 1 <= min(sizes) <= max(sizes) <= min(2, min(sizes) + 1)
        orders.append(shown)
    assert orders[0] != orders[1]
    if ranks > 1:  # the shards are dealt out anew
        first, second = ([{key for batch in batches for key in batch} for batches in shown] for shown in orders)
        assert first != second
    assert epoch_of(data, 1, ranks, workers) == orders[1]


@pytest.mark.parametrize("workers", [0, 2, 9])
@pytest.mark.parametrize("processed", [1, 4])
def test_an_interrupted_epoch_goes_on_with_the_very_batches(shards, workers, processed):
    data = shard_data(shards, fractions=HALVES, batch_size=2, shuffle_buffer=4)
    whole = epoch_of(data, 1, 2, workers)
    rest = epoch_of(data, 1, 2, workers, processed)
    assert rest == [batches[processed:] for batches in whole]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_real_workers_give_what_the_plan_says(shards, workers):
    data = shard_data(shards, fractions=HALVES, num_workers=workers)
    loader = data.train_dataloader()
    for epoch, processed in ((0, 0), (1, 0), (1, 2)):
        loader.epoch, loader.processed = (lambda epoch=epoch: epoch), (lambda processed=processed: processed)
        batches = list(loader)
        assert [batch["id"] for batch in batches] == epoch_of(data, epoch, 1, workers, processed)[0]
        assert len(batches) == len(loader) - processed
        assert all(batch["image"].shape[1:] == (3, 8, 8) for batch in batches)
        captions = [caption for batch in batches for caption in batch["caption"]]
        assert captions == [f"a {('dog', 'cat', 'bird')[n % 3]}, number {n}" for n in map(int, ids_of(batches))]


def test_the_buffer_mixes(tmp_path):
    data = shard_data(write_shards(tmp_path, (60,)), shuffle_buffer=1)
    stored = [key for batch in epoch_of(data, 0, 1, 0)[0] for key in batch]
    assert stored == sorted(stored)
    data.shuffle_buffer = 10
    mixed = [key for batch in epoch_of(data, 0, 1, 0)[0] for key in batch]
    assert mixed != stored
    assert sorted(mixed) == stored


def test_augmentation_depends_on_seed_epoch_and_id(tmp_path):
    urls = write_shards(tmp_path, (40,))
    pictures = []
    for workers, epoch in ((0, 0), (2, 0), (0, 1)):
        data = shard_data(urls, num_workers=workers, augmentation={"scale": [0.2, 0.9]})
        loader = data.train_dataloader()
        loader.epoch = lambda epoch=epoch: epoch
        batches = list(loader)
        images = torch.cat([batch["image"] for batch in batches])
        pictures.append(dict(zip(ids_of(batches), images, strict=True)))
    first, other_workers, other_epoch = pictures
    assert all(torch.equal(first[key], other_workers[key]) for key in first)
    assert not any(torch.equal(first[key], other_epoch[key]) for key in first)


RUN = """
import json, sys
from pathlib import Path
from lightning.pytorch import Callback, Trainer
from tests.shards import Recorder, shard_data


class OneMoreWorkerEachEpoch(Callback):
    workers = []

    def on_train_start(self, trainer, pl_module):
        self.estimated = trainer.estimated_stepping_batches

    def on_train_epoch_end(self, trainer, pl_module):
        self.workers.append(trainer.train_dataloader.options["num_workers"])
        trainer.datamodule.loading["num_workers"] += 1


if __name__ == "__main__":
    folder, ranks = Path(sys.argv[1]), int(sys.argv[2])
    data = shard_data(f"{folder}/*.tar", fractions={"A": 0.6, "B": 0.2}, num_workers=0, shuffle_buffer=3)
    module, callback = Recorder(), OneMoreWorkerEachEpoch()
    trainer = Trainer(
        accelerator="cpu", devices=ranks, strategy="ddp", max_epochs=4, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, default_root_dir=folder, callbacks=callback,
        reload_dataloaders_every_n_epochs=1,
    )
    trainer.fit(module, data)
    told = {"shown": module.shown, "batches": trainer.num_training_batches, "steps": trainer.global_step,
            "estimated": callback.estimated, "workers": callback.workers}
    (folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(told))
"""


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_with_0_to_3_workers_show_every_sample_once_an_epoch(tmp_path, ranks):
    urls = write_shards(tmp_path, (13, 2, 7))
    script = tmp_path / "run.py"
    script.write_text(RUN)
    done = subprocess.run(
        [interpreter(), str(script), str(tmp_path), str(ranks)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(ranks)]
    expected = members(urls, "A", HashSplits({"A": 0.6, "B": 0.2}))
    steps = -(-len(expected) // (4 * ranks))
    for epoch in range(4):
        shown = Counter(key for rank in told for at, batch in rank["shown"] if at == epoch for key in batch)
        assert shown == dict.fromkeys(expected, 1)
    for rank in told:
        assert (rank["batches"], rank["steps"], rank["estimated"]) == (steps, 4 * steps, 4 * steps)
        assert rank["workers"] == [0, 1, 2, 3]
    assert "usable" not in done.stderr


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def trained(urls, folder, checkpoint=None, **settings):
    stop_after = settings.pop("stop_after", None)
    data = shard_data(urls, fractions=HALVES, **settings)
    module = Recorder(stop_after)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1),
    )
    trainer.fit(module, data, ckpt_path=checkpoint)
    return module.shown


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_training_shows_the_rest_of_the_epoch(shards, tmp_path, workers):
    settings = {"num_workers": workers, "batch_size": 3, "shuffle_buffer": 4}
    whole = trained(shards, tmp_path / "whole", **settings)
    steps = len(whole) // 2
    for saved in (2, steps, steps + 3):
        checkpoint = tmp_path / "whole" / f"step={saved}.ckpt"
        assert trained(shards, tmp_path / f"resumed{saved}", checkpoint, **settings) == whole[saved:]
    with pytest.raises(ValueError, match=r"within an epoch read with .*'shuffle_buffer': 4.*'shuffle_buffer': 5"):
        trained(shards, tmp_path / "other", tmp_path / "whole" / "step=2.ckpt", **{**settings, "shuffle_buffer": 5})


@pytest.mark.parametrize("numbers", [range(40, 80), range(10), [*range(39), 80]])
def test_a_shard_changed_after_the_index_stops_the_training(tmp_path, numbers):
    (url,) = write_shards(tmp_path, (40,))
    data = shard_data(url, fractions=HALVES)
    assert data.index
    write_shards(tmp_path, (len(numbers),), list(numbers))
    if len(numbers) < 40 or numbers[0]:
        with pytest.raises(ValueError, match=r"00000\.tar' is not what the index was made from"):
            list(data.train_dataloader())
    with pytest.raises(ValueError, match=r"00000\.tar'"):
        data.memorization_sets()


def test_pictures_that_fail_in_training_are_named_and_bounded(tmp_path):
    cut = {n: jpeg(n, 40)[:-500] for n in range(200)}

    def data_with(count):
        broken = [n for n in range(200) if HashSplits({"A": 0.4, "B": 0.4}).of(f"{n:09d}") == "A"][:count]
        url = write_shard(
            tmp_path / "0.tar", [sample(n, **({"jpg": cut[n]} if n in broken else {})) for n in range(200)]
        )
        data = shard_data(url, fractions={"A": 0.4, "B": 0.4}, batch_size=8, max_unusable=0.04)
        return broken, data

    broken, data = data_with(3)
    data.index.check(0)  # their headers are fine
    with pytest.warns(
        UserWarning, match=r"left out in epoch 0, 3 of \d+ read: sample '\d+' of shard '.*0\.tar'"
    ) as told:
        shown = {key for batch in epoch_of(data, 0, 1, 0)[0] for key in batch}
    assert shown == members(data.urls, "A", data.splits) - {f"{n:09d}" for n in broken}
    assert sum("left out" in str(warning.message) for warning in told) == 3
    _, data = data_with(8)
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match=r"4 of the first \d+ samples .*max_unusable=0\.04"),
    ):
        epoch_of(data, 0, 1, 0)
    data.max_unusable, data.shuffle_buffer, data.batch_size = 1.0, 1, 2
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match=r"none of the \d samples of a batch.*sample '\d+'"),
    ):
        epoch_of(data, 0, 1, 0)


def test_training_from_a_pipe_stopped_within_a_shard(tmp_path):
    urls = write_shards(tmp_path, (60, 70))
    files, pipes = ([f"{scheme}{url}" for url in urls] for scheme in ("", "pipe:cat "))
    data = [shard_data(found, shuffle_buffer=2, num_workers=2) for found in (files, pipes)]
    shown = [ids_of(d.train_dataloader()) for d in data]
    assert shown[0] == shown[1]
    assert len(shown[0]) > 30


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_what_workers_leave_out_is_told_in_the_process_that_trains(tmp_path, context):
    broken = [n for n in range(40) if HashSplits({"A": 0.4, "B": 0.4}).of(f"{n:09d}") == "A"][:2]
    cut = {n: jpeg(n, 64)[:-800] for n in broken}
    url = write_shard(tmp_path / "0.tar", [sample(n, **({"jpg": cut[n]} if n in cut else {})) for n in range(40)])
    data = shard_data(url, fractions={"A": 0.4, "B": 0.4}, batch_size=4, num_workers=1)
    data.loading["multiprocessing_context"] = context
    with pytest.warns(UserWarning, match=r"left out in epoch 0, .*0\.tar' cannot be decoded") as told:
        shown = ids_of(data.train_dataloader())
    assert sum("left out in epoch" in str(warning.message) for warning in told) == 2
    assert len(shown) == int(data.index.per_shard("A").sum()) - 2
