"""Embeddings that are kept: found again for the same model and data, and never for others."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dejavu_lightning.core.samples import subsample
from dejavu_lightning.data import ImageFolder, Scenes
from dejavu_lightning.data.image_dataset import ImageDataset
from dejavu_lightning.embedding.embed import Reading, embed, labelled_image
from dejavu_lightning.memorization import (
    Checkpoint,
    EmbeddingCache,
    HeldOut,
    LabelInference,
    MemorizationSets,
    ModuleEncoder,
    ObjectRetrieval,
    Preprocessing,
    measure,
)
from tests.captions import caption_data, tiny_clip
from tests.commands import run
from tests.models import Pairs
from tests.processes import run_processes

PLAIN = {"image_size": 16, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


class Net(nn.Module):
    calls = 0

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.norm, self.scale = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), 1.0
        self.register_buffer("offset", torch.zeros(8), persistent=False)
        self.act = torch.relu

    def encode(self, images):
        Net.calls += 1
        return self.scale * self.act(self.norm(self.conv(images))).mean((2, 3)) + self.offset

    def whole(self, images):
        return self.encode(images).flatten(1) + 1


class Shown(ImageDataset):
    reads = 0

    def __getitem__(self, position):
        Shown.reads += 1
        return super().__getitem__(position)


def doubled(module, images):
    return 2 * module.encode(images)


def pictures(source=None, **changes):
    """Attacked, public and other scenes; changes are settings, or ``attack``, its rows."""
    source = source or Scenes(60)
    shown = Preprocessing(**{**PLAIN, **{name: value for name, value in changes.items() if name != "attack"}})
    rows = changes.get("attack", range(12))
    crops = np.tile(np.array([[0, 0, 20, 20]]), (12, 1))
    return MemorizationSets(
        attack=Shown(source, rows, crops, shown),
        other_split=Shown(source, range(12, 24), crops, shown),
        public=Shown(source, range(24, 60), None, shown),
        num_classes=10,
    )


def measured(folder, k=5, net=None, sets=None, encode=None, batch_size=16, reference=None):
    """What was found, how many of the sets came from the folder, and how often pictures were encoded and read."""
    cache = folder and EmbeddingCache(folder)
    encoder = ModuleEncoder(net or Net(), encode, cache=cache)
    Net.calls = Shown.reads = 0
    test = LabelInference(k=k, batch_size=batch_size)
    found = measure(encoder, test, reference or HeldOut(), sets or pictures())
    return found, (cache.found, cache.asked) if cache else None, (Net.calls, Shown.reads)


def same(one, other):
    return one.metrics == other.metrics and all(
        getattr(one, name).table.equals(getattr(other, name).table) for name in ("target", "reference")
    )


def test_another_k_reads_and_encodes_nothing_and_finds_the_same(tmp_path):
    first, kept, work = measured(tmp_path)
    assert kept == (0, 3)
    assert work == (5, 60)
    again, kept, work = measured(tmp_path)
    assert kept == (3, 3)
    assert work == (0, 0)
    assert same(again, first)
    other, kept, work = measured(tmp_path, k=9)
    assert kept == (3, 3)
    assert work == (0, 0)
    assert same(other, measured(None, k=9)[0])
    assert not same(other, first)


def with_weight(net):
    net.conv.weight.data[0, 0, 0, 0] += 1e-3


def with_running_mean(net):
    net.norm.running_mean[0] += 1e-3


def with_offset(net):
    net.offset[0] += 1e-3


def with_scale(net):
    net.scale = 2.0


def with_act(net):
    net.act = torch.tanh


def with_layout(net):
    net.conv.to(memory_format=torch.channels_last)


def relabelled():
    scenes = Scenes(60)
    scenes.labels[3] += 1
    return scenes


def repainted():
    scenes = Scenes(60)
    scenes._images[3, 0, 0, 0] ^= 1
    return scenes


def blurred():
    sets = pictures()
    sets.attack.blur = 1
    return sets


@pytest.mark.parametrize(
    ("left", "change"),
    [
        (0, lambda: {"net": with_weight}),
        (0, lambda: {"net": with_running_mean}),
        (0, lambda: {"net": with_offset}),
        (0, lambda: {"net": with_scale}),
        (0, lambda: {"net": with_act}),
        (0, lambda: {"net": with_layout}),
        (0, lambda: {"net": nn.Module.double}),
        (0, lambda: {"encode": "whole"}),
        (0, lambda: {"encode": doubled}),
        (0, lambda: {"batch_size": 8}),
        (0, lambda: {"sets": pictures(image_size=24)}),
        (0, lambda: {"sets": pictures(mean=(0.5, 0.5, 0.4))}),
        (0, lambda: {"sets": pictures(interpolation="bicubic")}),
        (0, lambda: {"sets": pictures(std=(0.25, 0.25, 0.3))}),
        (2, lambda: {"sets": pictures(relabelled())}),
        (2, lambda: {"sets": pictures(repainted())}),
        (2, lambda: {"sets": pictures(attack=[1, 0, *range(2, 12)])}),
        (2, lambda: {"sets": blurred()}),
    ],
)
def test_whatever_embeddings_depend_on_makes_them_anew(tmp_path, left, change):
    """``left`` of the three sets are as they were."""
    measured(tmp_path)
    changed = change()
    net = Net()
    changed.pop("net", lambda net: None)(net)
    found, kept, (calls, _) = measured(tmp_path, net=net, **changed)
    assert kept == (left, 3)
    assert calls > 0
    assert same(found, measured(None, net=net, **changed)[0])


def test_threads_and_precision_matter(tmp_path):
    measured(tmp_path)
    torch.set_num_threads(2)
    assert measured(tmp_path)[1] == (0, 3)
    torch.set_num_threads(1)
    with torch.autocast("cpu", torch.bfloat16):
        assert measured(tmp_path)[1] == (0, 3)
    assert measured(tmp_path)[1] == (3, 3)


def test_a_subsample_is_what_it_chooses(tmp_path):
    def some(limit, seed):
        return subsample(pictures().public, "public", limit, seed)

    def print_of(samples):
        return samples.fingerprint(range(len(samples)))

    assert print_of(some(20, 0)) == print_of(some(20, 0))
    assert len({print_of(some(*choice)) for choice in ((20, 0), (20, 1), (19, 0), (36, 0))}) == 4


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for row in range(60):
        path = tmp_path / "pictures" / f"class{row % 2}" / f"{row:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path, compress_level=0)
    return tmp_path / "pictures"


def test_a_file_that_is_rewritten_is_read_again(tmp_path, folder):
    """Its size, its time of change and its path are what they were."""
    measured(tmp_path / "cache", sets=pictures(ImageFolder(str(folder))))
    file = ImageFolder(str(folder)).path(3)
    before = file.stat()
    pixels = np.array(Image.open(file))
    pixels[0, 0, 0] ^= 128
    Image.fromarray(pixels).save(file, compress_level=0)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    sets = pictures(ImageFolder(str(folder)))
    found, kept, _ = measured(tmp_path / "cache", sets=sets)
    assert kept == (2, 3)
    assert same(found, measured(None, sets=sets)[0])
    assert measured(tmp_path / "cache", sets=pictures(ImageFolder(str(folder))))[1] == (3, 3)


def test_a_reference_has_its_own_entries_which_are_those_of_its_model(tmp_path):
    file = tmp_path / "b.ckpt"
    torch.save({"state_dict": Net(1).state_dict()}, file)
    reference = {"reference": Checkpoint(file, allow_unverified_split=True)}
    first, kept, _ = measured(tmp_path / "cache", **reference)
    assert kept == (0, 4)
    assert same(first, measured(None, **reference)[0])
    assert first.metrics["target_accuracy"] != first.metrics["reference_accuracy"]
    other, kept, work = measured(tmp_path / "cache", k=9, **reference)
    assert kept == (4, 4)
    assert work == (0, 0)
    assert same(other, measured(None, k=9, **reference)[0])
    assert measured(tmp_path / "cache", net=Net(1))[1] == (2, 3), "as a target it has public and attacked ones"


def test_captions_and_images_of_one_dataset_are_kept_apart(tmp_path):
    sets = caption_data().memorization_sets()

    def retrieved(cache, **options):
        encoder = ModuleEncoder(tiny_clip(tmp_path / "cached-tiny.json"), cache=cache)
        settings = {"k": 5, "ks": [1], "top_n": [1], "batch_size": 16, **options}
        return measure(encoder, ObjectRetrieval(**settings), HeldOut(), sets)

    retrieved(cache := EmbeddingCache(tmp_path))
    assert (cache.found, cache.asked) == (0, 3)
    found = retrieved(cache := EmbeddingCache(tmp_path), k=8, unnamed_only=True)
    assert (cache.found, cache.asked) == (3, 3)
    assert same(found, retrieved(None, k=8, unnamed_only=True))
    found = retrieved(cache := EmbeddingCache(tmp_path), direction="t2t")
    assert (cache.found, cache.asked) == (2, 3)
    assert same(found, retrieved(None, direction="t2t"))


@pytest.mark.parametrize("damage", ["cut", "flipped", "another's"])
def test_a_damaged_file_is_named_and_made_anew(tmp_path, damage):
    first, _, _ = measured(tmp_path)
    file, other, _ = sorted(tmp_path.glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes({"cut": content[:-9], "flipped": content, "another's": other.read_bytes()}[damage])
    with pytest.warns(UserWarning, match=rf"{file.name} is damaged and is made anew"):
        found, kept, _ = measured(tmp_path)
    assert kept == (2, 3)
    assert same(found, first)
    assert measured(tmp_path)[1] == (3, 3)
    assert len(list(tmp_path.iterdir())) == 3, "nothing half-written is left"


def test_what_cannot_be_told_apart_is_not_kept(tmp_path):
    factor = 2
    with pytest.warns(UserWarning, match=r"not kept: .*<lambda> is not what a module defines") as told:
        found, kept, _ = measured(tmp_path, encode=lambda module, images: factor * module.encode(images))
    assert len([one for one in told if "not kept" in str(one.message)]) == 1, "once"
    assert kept == (0, 3)
    assert same(found, measured(None, encode=doubled)[0])
    pairs = MemorizationSets(attack=Pairs(12, 1), public=Pairs(36, 2), other_split=Pairs(12, 3), num_classes=10)
    with pytest.warns(UserWarning, match=r"not kept: Pairs has no method fingerprint"):
        measured(tmp_path, sets=pairs)
    encoder = ModuleEncoder(Net().train(), cache=EmbeddingCache(tmp_path))
    with pytest.warns(UserWarning, match="not kept: Net is in training mode"):
        embed(encoder, pictures().attack, "attack", 16, 0)
    encoder.module.eval()
    with pytest.warns(UserWarning, match="not kept: what is known of the samples is not what JSON can hold"):
        embed(encoder, pictures().attack, "attack", 16, 0, paired)
    assert list(tmp_path.iterdir()) == []


def paired(sample, row, role):
    found = labelled_image(sample, row, role)
    return Reading(found.input, (found.facts, row), found.identifier)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cache='.*file/cache' is no folder that can be written"):
        EmbeddingCache(str(tmp_path / "file" / "cache"))


def _measured_in_one_of_two(folder):
    return measured(folder)[1]


@pytest.mark.slow
def test_several_processes_keep_nothing(tmp_path):
    assert run_processes(2, _measured_in_one_of_two, tmp_path) == [(0, 0), (0, 0)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_evaluate_takes_another_k_from_the_cache(config, tmp_path):
    out, cache = tmp_path / "out", tmp_path / "cache"
    run("train.py", "fit", "--config", config, "--trainer.default_root_dir", out, "--data.train_on", "A")
    target = ["--target", out / "checkpoints" / "last.ckpt", "--reference", "dejavu_lightning.memorization.HeldOut"]

    def evaluated(name, k, *more):
        printed = run("evaluate.py", "memorization", *target, "--k", k, "--output", tmp_path / name, *more).stdout
        return printed, {file.name: file.read_bytes() for file in (tmp_path / name).rglob("*.parquet")}

    assert f"embeddings: 0 of 3 sets from {cache}" in evaluated("first", 5, "--cache", cache)[0]
    printed, records = evaluated("second", 7, "--cache", cache)
    assert f"embeddings: 3 of 3 sets from {cache}" in printed
    plain, expected = evaluated("plain", 7)
    assert records == expected
    assert len(records) > 1
    assert printed.replace(f"embeddings: 3 of 3 sets from {cache}\n", "").replace("second", "plain") == plain
    refused = run("evaluate.py", "memorization", *target, "--cache", config / "in_a_file", code=1).stderr
    assert "is no folder that can be written" in refused
    assert "Traceback" not in refused
