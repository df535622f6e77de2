"""Shards: a stable split, every sample exactly once, and no broken file unnoticed."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image

from dejavu_lightning.data.decode import decode
from dejavu_lightning.data.encoded import decode_bytes
from dejavu_lightning.data.hash_splits import SPLITS, HashSplits
from dejavu_lightning.data.objects import read_objects
from dejavu_lightning.data.shard_index import build_index, shard_index
from dejavu_lightning.data.shard_reader import ReadingPlan
from dejavu_lightning.data.shards import expand_shards, read_shard
from tests.commands import ROOT
from tests.shards import Recorder, jpeg, sample, shard_data, write_shard, write_shards

UNEVEN = (23, 1, 9, 0, 17)
HALVES = {"A": 0.4, "B": 0.3, "held_out": 0.1, "validation": 0.1}
KNOWN = [("0", "82c1", "B"), ("1", "2857", "A"), ("3", "9b36", "B"), ("a/b", "20fd", "A"), ("ключ", "46bf", "A")]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), UNEVEN)


def members(urls, split, splits):
    return {s.key for url in urls for s in read_shard(url) if splits.of(s.key) == split}


def epoch_of(data, epoch, ranks, workers, processed=0):
    """By rank, the batches of ids in the order in which torch's DataLoader takes them from its workers."""
    reader = data.train_dataloader().reader
    plan = ReadingPlan(data.index.per_shard(data.train_on), data.batch_size, ranks, data.seed)
    object.__setattr__(reader, "plan", plan)
    shown = []
    for rank in range(ranks):
        streams = [reader.batches(epoch, processed, rank, w, max(workers, 1)) for w in range(max(workers, 1))]
        rounds = zip_longest(*streams)
        shown.append([batch["id"] for batches in rounds for batch in batches if batch is not None])
    return shown


def test_split_follows_from_the_id_alone():
    splits = HashSplits(HALVES, seed=5)
    counts = Counter(splits.of(f"{number:09d}") for number in range(20_000))
    expected = {"A": 0.4, "B": 0.3, "public": 0.1, "held_out": 0.1, "validation": 0.1}
    # Five standard deviations of a binomial share.
    for split in SPLITS:
        assert counts[split] / 20_000 == pytest.approx(expected[split], abs=5 * (0.25 / 20_000) ** 0.5)
    # printf '0\\0KEY' | sha256sum begins with DIGITS: A up to 0.4 of ffff, which is 6666, then B up to 0.7, b333.
    for key, digits, split in KNOWN:
        assert hashlib.sha256(f"0\0{key}".encode()).hexdigest().startswith(digits)
        assert HashSplits(HALVES).of(key) == split
    other = HashSplits(HALVES, seed=6)
    moved = sum(splits.of(str(number)) != other.of(str(number)) for number in range(1000))
    assert moved > 500
    assert splits.record("A") == HashSplits(dict(reversed(HALVES.items())), seed=5).record("A")
    fingerprints = {
        HashSplits(fractions, seed, field).record("A").split_fingerprint
        for fractions, seed, field in ((HALVES, 5, None), (HALVES, 6, None), ({**HALVES, "B": 0.2}, 5, None))
    } | {HashSplits(HALVES, 5, "url").record("A").split_fingerprint}
    assert len(fingerprints) == 4
    assert all(len(fingerprint) == 16 for fingerprint in fingerprints)


def test_split_does_not_depend_on_order_or_layout(tmp_path, shards):
    numbers = np.random.default_rng(0).permutation(sum(UNEVEN)).tolist()
    other = write_shards(tmp_path, (30, 20), numbers)
    splits = HashSplits(HALVES)
    for split in SPLITS:
        assert members(shards, split, splits) == members(other, split, splits)
        here, there = (build_index(urls, splits).per_shard(split).sum() for urls in (shards, other))
        assert here == there == len(members(shards, split, splits))
    ours, theirs = shard_data(shards, fractions=HALVES), shard_data(other, fractions=HALVES)
    assert ours.record == theirs.record


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"A": 0.5, "test": 0.1}, "unknown splits.*'test'.*choose from"),
        ({"A": 0.6, "B": 0.6}, "add up to 1"),
        ({"A": 0.5, "B": 0.5}, "leave some to A, B and public"),
        ({"A": 0.5, "B": 0.2, "public": 0.1}, "add up to 1"),
    ],
)
def test_wrong_fractions(fractions, message):
    with pytest.raises(ValueError, match=message):
        HashSplits(fractions)


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


def ids_of(batches):
    return [identifier for batch in batches for identifier in batch["id"]]


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
from lightning.pytorch import Trainer
from tests.commands import ROOT
from tests.shards import Recorder, shard_data

if __name__ == "__main__":
    folder, workers = Path(sys.argv[1]), int(sys.argv[2])
    data = shard_data(f"{folder}/*.tar", fractions={"A": 0.6, "B": 0.2}, num_workers=workers, shuffle_buffer=3)
    module = Recorder()
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, default_root_dir=folder,
    )
    trainer.fit(module, data)
    told = {"shown": module.shown, "batches": trainer.num_training_batches, "steps": trainer.global_step,
            "estimated": trainer.estimated_stepping_batches}
    (folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(told))
"""


def test_two_processes_show_every_sample_once_an_epoch(tmp_path):
    urls = write_shards(tmp_path, (13, 2, 7))
    script = tmp_path / "run.py"
    script.write_text(RUN)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "3"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    expected = members(urls, "A", HashSplits({"A": 0.6, "B": 0.2}))
    steps = -(-len(expected) // 8)
    for epoch in range(2):
        shown = Counter(key for rank in told for at, batch in rank["shown"] if at == epoch for key in batch)
        assert shown == dict.fromkeys(expected, 1)
    for rank in told:
        assert (rank["batches"], rank["steps"], rank["estimated"]) == (steps, 2 * steps, 2 * steps)
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


def odd_shard(path):
    long, broken = ("word " * 80).encode(), jpeg(0)[:9]
    samples = [
        sample(0, txt=None),
        sample(1, txt=b"  \n"),
        sample(2, jpg=broken),
        sample(3, jpg=None),
        sample(4, txt="собака бежит по снегу".encode()),
        sample(5, txt=long),
        sample(6, txt=long),
        sample(7, json=b"{"),
        sample(8, txt=None, json=b'{"caption": "from the JSON"}'),
        *map(sample, range(9, 40)),
    ]
    return write_shard(path, samples)


def test_odd_samples_are_counted_and_unusable_ones_in_no_split(tmp_path):
    url = odd_shard(tmp_path / "odd.tar")
    splits = HashSplits({"A": 0.4, "B": 0.3})
    index = build_index([url], splits)
    assert index.counts == {
        "pictures": 40,
        "missing_captions": 1,
        "empty_captions": 1,
        "undecodable_images": 1,
        "missing_images": 1,
        "non_latin_captions": 1,
        "long_captions": 2,
        "duplicate_captions": 1,
        "broken_json": 1,
    }
    assert sum(index.per_shard(split).sum() for split in SPLITS) == 36
    index.check(0.1)
    with pytest.raises(ValueError, match=r"4 of 40 samples are unusable \(1 missing captions, such as 000000000; 1"):
        index.check(0.09)
    data = shard_data(url, fractions={"A": 0.4, "B": 0.3})
    shown = {key for batch in epoch_of(data, 0, 1, 0)[0] for key in batch}
    assert shown == members([url], "A", splits) - {f"{number:09d}" for number in range(4)}
    assert data.memorization_sets().attack.ids


def test_a_mostly_broken_collection_stops_before_training(tmp_path):
    url = write_shard(tmp_path / "0.tar", [sample(n, txt=None if n % 2 else b"fine") for n in range(20)])
    path = tmp_path / "index.parquet"
    for _ in range(2):  # also where the index was kept
        with pytest.raises(ValueError, match=r"0\.tar.*10 of 20 samples are unusable .*max_unusable=0\.1"):
            shard_data(url, index=str(path)).setup("fit")
    shard_data(url, index=str(path), max_unusable=0.5).setup("fit")


@pytest.mark.parametrize("how", ["data", "header", "member", "mark", "empty", "garbage", "joined", "flipped", "gz"])
def test_a_damaged_shard_is_named(tmp_path, how):
    good = write_shard(tmp_path / "good.tar", [sample(number) for number in range(6)])
    data = Path(good).read_bytes()
    with tarfile.open(good) as archive:
        offsets = [member.offset for member in archive]
        middle = offsets[len(offsets) // 2]
    damaged = {
        "data": data[: middle + 700],
        "header": data[: middle + 200],
        "member": data[:middle],  # tarfile and webdataset take this for a whole shard
        "mark": data.rstrip(b"\0") + b"\0" * (-len(data.rstrip(b"\0")) % 512),
        "empty": b"",
        "garbage": b"<html>not found</html>" * 100,
        "joined": data + data,
        "flipped": data[:middle] + b"x" * 512 + data[middle + 512 :],
        "gz": gzip.compress(data)[:-600],
    }[how]
    (tmp_path / "bad.tar").write_bytes(damaged)
    urls = [good, str(tmp_path / "bad.tar")]
    with pytest.raises(ValueError, match=r"shard '[^']*bad\.tar' cannot be read to its end"):
        build_index(urls[1:], HashSplits(HALVES))


def test_a_compressed_shard_is_read(tmp_path):
    good = write_shard(tmp_path / "good.tar", [sample(number) for number in range(6)])
    (tmp_path / "good.tar.gz").write_bytes(gzip.compress(Path(good).read_bytes()))
    assert [s.key for s in read_shard(f"{good}.gz")] == [s.key for s in read_shard(good)]


def test_repeated_keys(tmp_path):
    within = write_shard(tmp_path / "within.tar", [sample(1), sample(2), sample(1)])
    with pytest.raises(ValueError, match=r"within\.tar.*'000000001' occurs twice"):
        build_index([within], HashSplits(HALVES))
    urls = [write_shard(tmp_path / f"{n}.tar", [sample(1 + n), sample(2 + n)]) for n in range(2)]
    with pytest.raises(ValueError, match=r"0\.tar' and '[^']*1\.tar' both have the key '000000002'.*key_field"):
        build_index(urls, HashSplits(HALVES))
    index = build_index(urls, HashSplits(HALVES, key_field="url"))
    assert index.counts["duplicate_ids"] == 1
    assert index.examples["duplicate_ids"] == ["http://pictures.test/2"]
    with pytest.raises(ValueError, match=r"'000000001' of shard .*key_field='sha'.*'key', 'objects', 'url'"):
        build_index(urls, HashSplits(HALVES, key_field="sha"))


def test_a_kept_index_is_used_and_a_stale_one_refused(tmp_path, monkeypatch):
    urls = write_shards(tmp_path, (5, 6))
    path, splits = str(tmp_path / "sub" / "index.parquet"), HashSplits(HALVES)
    made = shard_index(urls, splits, path)
    with monkeypatch.context() as patched:
        patched.setattr("dejavu_lightning.data.shard_index.read_shard", None)  # no shard is opened again
        kept = shard_index(urls[::-1], splits, path)
    assert kept.counts == made.counts
    for split in SPLITS:
        assert kept.per_shard(split).tolist() == made.per_shard(split).tolist()[::-1]
    for changed, message in (
        (HashSplits({**HALVES, "B": 0.2}), "made with fractions="),
        (HashSplits(HALVES, seed=1), "made with seed=0, not 1"),
        (HashSplits(HALVES, key_field="url"), "made with key_field=None, not 'url'"),
    ):
        with pytest.raises(ValueError, match=message):
            shard_index(urls, changed, path)
    with pytest.raises(ValueError, match=r"also has the shard .*1\.tar"):
        shard_index(urls[:1], splits, path)
    with pytest.raises(ValueError, match=r"does not know the shard .*2\.tar"):
        shard_index([*urls, write_shards(tmp_path / "more", (1, 1, 1))[2]], splits, path)
    write_shards(tmp_path, (5, 16))
    with pytest.raises(ValueError, match=r"1\.tar' had \d+ bytes, now it has \d+; delete the file"):
        shard_index(urls, splits, path)
    (tmp_path / "sub" / "index.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match="cannot be read as a parquet file"):
        shard_index(urls, splits, path)


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


def test_urls(tmp_path, monkeypatch):
    urls = write_shards(tmp_path, (2, 2, 12))
    assert expand_shards(f"{tmp_path}/{{00000..00002}}.tar") == urls
    assert expand_shards(f"{tmp_path}/*.tar") == urls
    assert expand_shards([urls[1], f"{tmp_path}/0000{{0,2}}.tar"]) == [urls[1], urls[0], urls[2]]
    with pytest.raises(ValueError, match=r"00001\.tar' is named twice"):
        expand_shards([urls[1], f"{tmp_path}/*.tar"])
    with pytest.raises(FileNotFoundError, match=r"measured_shards: no file matches .*\*\.zip"):
        expand_shards(f"{tmp_path}/*.zip", "measured_shards")
    with pytest.raises(FileNotFoundError, match=r"shard '.*9\.tar' does not exist"):
        build_index([str(tmp_path / "9.tar")], HashSplits(HALVES))
    keys = [s.key for s in read_shard(urls[2])]
    assert [s.key for s in read_shard(f"file://{urls[2]}")] == keys
    assert [s.key for s in read_shard(f"pipe:cat {urls[2]}")] == keys
    for command in ("false", f"head -c 3000 {urls[2]}", f"cat {urls[2]}; exit 3"):
        with pytest.raises(ValueError, match=r"shard 'pipe:.*' cannot be read to its end"):
            list(read_shard(f"pipe:{command}"))


def test_training_from_a_pipe_stopped_within_a_shard(tmp_path):
    urls = write_shards(tmp_path, (60, 70))
    files, pipes = ([f"{scheme}{url}" for url in urls] for scheme in ("", "pipe:cat "))
    data = [shard_data(found, shuffle_buffer=2, num_workers=2) for found in (files, pipes)]
    shown = [ids_of(d.train_dataloader()) for d in data]
    assert shown[0] == shown[1]
    assert len(shown[0]) > 30


def test_read_objects(tmp_path):
    path = tmp_path / "objects.jsonl"
    lines = [
        {
            "id": "b",
            "objects": [{"label": "dog", "box": [0, 0, 1, 1]}, {"label": "cat", "score": 0.3}, {"label": "dog"}],
        },
        {"id": "a", "objects": []},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert read_objects(str(path)) == {"b": ["dog", "cat"], "a": []}
    for line, message in (
        ("{", "line 3 is not JSON"),
        ('{"objects": []}', 'line 3 needs an "id"'),
        ("[]", 'line 3 needs an "id"'),
        ('{"id": "b", "objects": []}', "line 3 repeats the id 'b' of line 1"),
        ('{"id": "c", "objects": "dog"}', r"line 3 \(id 'c'\): objects must be a list, got 'dog'"),
        ('{"id": "c"}', r"line 3 \(id 'c'\): objects must be a list"),
        ('{"id": "c", "objects": [{"box": []}]}', r"line 3 \(id 'c'\): an object must"),
    ):
        path.write_text("\n".join([*map(json.dumps, lines), line]))
        with pytest.raises(ValueError, match=rf"objects\.jsonl, {message}"):
            read_objects(str(path))


def test_objects_of_the_json_and_of_a_side_file(tmp_path, shards):
    data = shard_data(shards, fractions=HALVES)
    source, _ = data.measured
    assert source.object_names == ["bird", "cat", "dog", "tree"]
    for identifier, objects, named in zip(source.ids, source.objects, source.named, strict=True):
        animal = [2, 1, 0][int(identifier) % 3]
        assert objects.tolist() == [animal, 3]
        assert named.tolist() == [animal]
    source, _ = shard_data(shards, fractions=HALVES, object_names=["tree", "dog"]).measured
    assert {len(objects) for objects in source.objects} == {1, 2}
    assert source.counts["objects_outside_the_vocabulary"] == sum(int(i) % 3 > 0 for i in source.ids)
    path = tmp_path / "objects.jsonl"
    path.write_text(json.dumps({"id": source.ids[3], "objects": [{"label": "sofa"}]}))
    source, _ = shard_data(shards, fractions=HALVES, objects=str(path)).measured
    assert source.object_names == ["sofa"]
    assert [i for i, objects in zip(source.ids, source.objects, strict=True) if len(objects)] == [source.ids[3]]
    path.write_text('{"id": "http://pictures.test/1", "objects": []}')
    with pytest.raises(ValueError, match=r"none of the measured samples.*like 'http://pictures\.test/1'"):
        shard_data(shards, fractions=HALVES, objects=str(path)).memorization_sets()
    broken = write_shard(tmp_path / "b.tar", [sample(n, json=b'{"objects": "dog"}') for n in range(30)])
    with pytest.raises(ValueError, match=r"sample '\d+' of shard '.*b\.tar': objects must be a list"):
        shard_data(broken, fractions=HALVES).memorization_sets()


def test_measured_sets_do_not_depend_on_order_or_layout(tmp_path, shards):
    numbers = np.random.default_rng(0).permutation(sum(UNEVEN)).tolist()
    other = write_shards(tmp_path / "other", (30, 20), numbers)
    limits = {"max_attack": 4, "max_public": 2, "max_held_out": 0, "max_validation": 100}
    sets = [shard_data(urls, fractions=HALVES, **limits).memorization_sets() for urls in (shards, other)]
    utility = shard_data(shards, fractions=HALVES, **limits).utility_sets()
    for name, split, count in (("attack", "A", 4), ("unseen", "B", 4), ("public", "public", 2)):
        here, there = (getattr(found, name) for found in sets)
        assert len(here) == count
        assert here.ids == there.ids
        assert here.captions == there.captions
        assert torch.equal(here[0]["image"], there[0]["image"])
        assert set(here.ids) <= members(shards, split, HashSplits(HALVES))
    assert sets[0].held_out is None
    assert sets[0].trained_on.split == "A"
    assert utility.train.ids == sets[0].public.ids
    assert set(utility.validation.ids) == members(shards, "validation", HashSplits(HALVES))
    more = shard_data(shards, fractions=HALVES, max_attack=6).memorization_sets()
    assert more.attack.ids[:4] == sets[0].attack.ids
    swapped = shard_data(shards, train_on="B", fractions=HALVES, **limits).memorization_sets()
    assert (swapped.attack.ids, swapped.unseen.ids) == (sets[0].unseen.ids, sets[0].attack.ids)


def test_measured_shards(tmp_path):
    urls = write_shards(tmp_path, (60, 60))
    sets = shard_data(urls, measured_shards=urls[1]).memorization_sets()
    assert {int(i) >= 60 for i in [*sets.attack.ids, *sets.public.ids]} == {True}
    with pytest.raises(ValueError, match=r"measured_shards names .*1\.tar', which is not one of shards"):
        shard_data(urls[0], measured_shards=urls)
    small = write_shards(tmp_path / "small", (1, 60), [200, *range(60)])
    with pytest.raises(ValueError, match="measured_shards hold no usable sample of split"):
        shard_data(small, measured_shards=small[0]).memorization_sets()


def test_one_of_the_samples_with_one_url_is_measured_whatever_the_order(tmp_path):
    twins = [sample(number) for number in range(60)]
    again = [sample(number, __key__=f"again{number}", txt=b"told otherwise") for number in range(60)]
    parts = [write_shard(tmp_path / f"{n}.tar", found) for n, found in enumerate((twins, again))]
    found = [shard_data(urls, key_field="url", max_attack=5).memorization_sets() for urls in (parts, parts[::-1])]
    assert len(set(found[0].attack.ids)) == 5
    assert found[0].attack.ids == found[1].attack.ids
    assert found[0].attack.captions == found[1].attack.captions


def test_bytes_are_decoded_as_files_are(tmp_path):
    file = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(jpeg(1))).save(file, exif=exif)
    assert torch.equal(decode_bytes(file.read_bytes(), "it"), decode(file))
    with pytest.raises(ValueError, match="it cannot be decoded"):
        decode_bytes(file.read_bytes()[:-300], "it")
    source, _ = shard_data(write_shards(tmp_path / "s", (60,))).measured
    assert torch.equal(source.image(0), decode_bytes(jpeg(int(source.ids[0])), ""))
