"""Embeddings that are kept: found again for the same model and data, and never for others."""

import errno
import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from torch import nn

from dejavu_lightning.embedding import embed as embedding
from dejavu_lightning.embedding.embed import embed
from dejavu_lightning.embedding.kept import KeptEmbeddings, tensors_hash
from dejavu_lightning.memorization import HeldOut, LabelInference, MemorizationSets, ModuleEncoder, measure
from dejavu_lightning.memorization.object_retrieval.attack import ObjectRetrieval
from dejavu_lightning.memorization.references.checkpoint import Checkpoint
from tests.captions import caption_data, tiny_clip
from tests.models import Pairs
from tests.processes import run_processes


class Net(nn.Module):
    calls = 0

    def __init__(self, seed=0, shift=0.0):
        super().__init__()
        torch.manual_seed(seed)
        self.conv, self.norm = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8)
        self.norm.running_mean += shift

    def encode(self, images):
        Net.calls += 1
        return self.norm(self.conv(images)).relu().mean((2, 3))


def doubled(module, images):
    return 2 * module.encode(images)


class Named(Pairs):
    ids = property(lambda self: [f"p{row}" for row in range(len(self))])


SETS = MemorizationSets(attack=Named(12, 1), other_split=Named(12, 2), public=Named(36, 3), num_classes=10)


def measured(
    folder, k=5, net=None, encode=None, batch_size=16, reference=None, sets=SETS, precision="float32", **provenance
):
    """What was found, how many sets came from the folder, and how often pictures were encoded."""
    net = net or Net()
    kept = folder and KeptEmbeddings(folder, {"weights": tensors_hash(net.state_dict()), **provenance}, precision)
    Net.calls = 0
    test = LabelInference(k=k, batch_size=batch_size)
    found = measure(ModuleEncoder(net, encode, kept=kept), test, reference or HeldOut(), sets)
    return found, kept and str(kept).split(" sets")[0].removeprefix("embeddings: "), Net.calls


def same(one, other):
    tables = [(getattr(one, name).table, getattr(other, name).table) for name in ("target", "reference")]
    return one.metrics == other.metrics and all(first.equals(second) for first, second in tables)


def test_another_k_encodes_nothing_and_finds_the_same(tmp_path):
    first, *work = measured(tmp_path)
    assert work == ["0 of 3", 5]
    names = {path.name.rpartition("-")[0] for path in tmp_path.iterdir()}
    assert names == {"attack", "public", "other_split-reference"}
    other, *work = measured(tmp_path, k=9)
    assert work == ["3 of 3", 0]
    assert same(first, measured(None)[0])
    assert same(other, measured(None, k=9)[0])
    assert not same(other, first)


CHANGES = [{"net": Net(1)}, {"net": Net(shift=1e-3)}, {"net": Net().double()}, {"encode": doubled}, {"batch_size": 8}]


@pytest.mark.parametrize("change", [*CHANGES, {"preprocessing": {"image_size": 16}}, {"data": "other"}])
def test_whatever_embeddings_depend_on_makes_them_anew(tmp_path, change):
    measured(tmp_path)
    found, kept, calls = measured(tmp_path, **change)
    assert kept == "0 of 3"
    assert calls > 0
    assert same(found, measured(None, **change)[0])
    assert measured(tmp_path, **change)[1] == "3 of 3"


def test_other_samples_are_embedded_anew(tmp_path):
    for limits, kept in [((None, 30), 0), ((None, 30), 3), ((5, 30), 1), ((5, 30, 4), 0)]:
        assert measured(tmp_path, sets=SETS.subsample(*limits))[1] == f"{kept} of 3", limits


def test_another_model_has_its_own(tmp_path):
    """A file of weights as reference; its entries are found again where these weights are the target."""
    file, folder = tmp_path / "b.ckpt", tmp_path / "kept"
    torch.save({"state_dict": Net(1).state_dict()}, file)
    reference = {"reference": Checkpoint(file, allow_unverified_split=True)}
    first, kept, _ = measured(folder, **reference)
    assert kept == "0 of 4"
    assert same(first, measured(None, **reference)[0])
    assert first.metrics["target_accuracy"] != first.metrics["reference_accuracy"]
    assert measured(folder, k=9, **reference)[1:] == ("4 of 4", 0)
    assert measured(folder, net=Net(1))[1] == "2 of 3"


def either(module, inputs):
    return module.encode_text(inputs) if isinstance(inputs, list) else module.encode_image(inputs)


def test_captions_and_images_of_one_dataset_are_kept_apart(tmp_path):
    sets = caption_data().memorization_sets()
    settings, one = {"k": 5, "ks": [1], "top_n": [1], "batch_size": 16}, {"image": either, "text": either}
    t2t = {"direction": "t2t"}
    for options, expected in [({}, 0), ({"k": 8}, 3), (t2t, 2), (one, 0), ({**one, **t2t}, 2)]:
        kept, test = KeptEmbeddings(tmp_path / "kept"), ObjectRetrieval(**{**settings, **options})
        found, plain = (
            measure(ModuleEncoder(tiny_clip(tmp_path / "tiny.json"), kept=folder), test, HeldOut(), sets)
            for folder in (kept, None)
        )
        assert str(kept) == f"embeddings: {expected} of 3 sets from {tmp_path / 'kept'}"
        assert same(found, plain)


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: content[:-1] + b"x"])
def test_a_damaged_file_is_named_and_made_anew(tmp_path, damage):
    first, _, _ = measured(tmp_path)
    file = next(tmp_path.glob("public-*"))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match=rf"{file.name} is damaged and is made anew"):
        found, kept, _ = measured(tmp_path)
    assert kept == "2 of 3"
    assert same(found, first)
    assert measured(tmp_path)[1] == "3 of 3"


def test_weights_hash_differently_by_name_type_and_layout():
    line, wide = torch.arange(6.0), torch.arange(6.0).reshape(2, 3)
    states = [{"a": line}, {"b": line}, {"a": line.long()}, {"a": wide}, {"a": wide.T.contiguous().T}, {}]
    states += [{"a": line[:3], "b": line[3:]}, {"a": line, "b": line}, {"a": torch.tensor(0.0)}]
    assert len({tensors_hash(state) for state in states}) == len(states)
    assert tensors_hash({"a": line, "b": wide}) == tensors_hash({"b": wide, "a": line.clone(), "extra": object()})


def test_a_renamed_file_is_refused(tmp_path):
    measured(tmp_path / "one", data="first")
    measured(tmp_path / "two", data="second")
    one, two = (next((tmp_path / name).glob("public-*")) for name in ("one", "two"))
    shutil.copy(one, two)
    with pytest.raises(ValueError, match=rf"{two.name} was renamed or .* of data='first', and those of data='second'"):
        measured(tmp_path / "two", data="second")


def test_what_cannot_be_named_is_not_kept(tmp_path):
    with pytest.warns(UserWarning, match="not kept: a lambda or local function") as told:
        found, kept, _ = measured(tmp_path, encode=lambda module, images: 2 * module.encode(images))
    assert len([one for one in told if "not kept" in str(one.message)]) == 1, "once"
    assert kept == "0 of 3"
    assert same(found, measured(None, encode=doubled)[0])
    pairs = MemorizationSets(attack=Pairs(12, 1), public=Pairs(36, 2), other_split=Pairs(12, 3), num_classes=10)
    with pytest.warns(UserWarning, match="not kept: the .* set has no attribute ids") as told:
        assert measured(tmp_path, sets=pairs.subsample(5, 30))[1] == "0 of 3"
    assert len(told) == 3, "once for each set"
    with pytest.raises(TypeError, match="JSON changes what is known of the samples"):
        KeptEmbeddings(tmp_path).save(torch.ones(1, 2), ["a"], [(0, 1)])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"'.*file/kept' is no folder in which embeddings can be kept: .*Not a dir"):
        KeptEmbeddings(str(tmp_path / "file" / "kept"))
    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr("os.replace", full)
    with pytest.warns(UserWarning, match=r"not kept in .*No space left"):
        assert same(measured(tmp_path / "kept")[0], measured(None)[0])
    assert list((tmp_path / "kept").iterdir()) == [], "nothing half-written is left"
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ValueError, match=r"no folder in which embeddings can be kept: .*No space left"):
        KeptEmbeddings(tmp_path / "kept")


def mapped_files(folder):
    return Path("/proc/self/maps").read_text().count(str(folder))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="mapped files are listed by Linux")
def test_float16_ones_are_rounded_once_and_searched_where_they_lie(tmp_path):
    kept = KeptEmbeddings(tmp_path, precision="float16")
    exact = embed(ModuleEncoder(Net()), SETS.public, "public", 16, 0).embeddings
    for asked in (0, 1):
        found = embed(ModuleEncoder(Net(), kept=kept), SETS.public, "public", 16, 0)
        assert str(kept) == f"embeddings: {asked} of {asked + 1} sets from {tmp_path}, rounded to float16"
        assert torch.equal(found.embeddings, exact.half())
        assert mapped_files(tmp_path) > 0, "those just written are read from their file, too"
        found = None
        assert mapped_files(tmp_path) == 0
    file = next(tmp_path.iterdir())
    assert file.stat().st_size < 2 * exact.numel() + 3000
    wide = KeptEmbeddings(tmp_path)
    assert torch.equal(embed(ModuleEncoder(Net(), kept=wide), SETS.public, "public", 16, 0).embeddings, exact)
    assert str(wide) == f"embeddings: 0 of 1 sets from {tmp_path}", "files of another precision are others"


def test_float16_ones_that_are_not_kept_are_rounded_too(tmp_path):
    first, *work = measured(tmp_path, precision="float16")
    again, *less = measured(tmp_path, precision="float16")
    assert [work[0], less] == ["0 of 3", ["3 of 3", 0]]
    with pytest.warns(UserWarning, match="not kept: a lambda"):
        unkept = measured(tmp_path, encode=lambda module, images: module.encode(images), precision="float16")[0]
    assert same(first, again)
    assert same(first, unkept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("in_file", [False, True])
def test_directions_take_the_place_of_embeddings_that_no_file_holds(monkeypatch, dtype, in_file):
    monkeypatch.setattr(embedding, "ROWS_AT_ONCE", 3)
    exact = torch.randn(10, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    given = exact.clone()
    held = embedding.Embedded(torch.arange(10), given, list("abcdefghij"), [0] * 10, in_file=in_file)
    found = held.directions_().embeddings
    expected = torch.nn.functional.normalize(exact.float(), dim=1).to(dtype)
    assert found.dtype == dtype
    assert torch.equal(found, expected)
    assert torch.equal(given, exact if in_file else expected)


def test_kept_embeddings_are_said_to_be_in_a_file(tmp_path):
    encoder = ModuleEncoder(Net(), kept=KeptEmbeddings(tmp_path))
    for _ in range(2):  # written, and read
        found = embed(encoder, SETS.public, "public", 16, 0)
        before = found.embeddings.clone()
        assert found.in_file
        assert not torch.equal(found.directions_().embeddings, before)
        assert torch.equal(found.embeddings, before)
    assert not embed(ModuleEncoder(Net()), SETS.public, "public", 16, 0).in_file


@pytest.mark.filterwarnings("ignore:embeddings are not kept")
@pytest.mark.parametrize("scale", [1e6, 1e-8])
def test_what_float16_cannot_hold_is_refused(tmp_path, scale):
    encoder = ModuleEncoder(nn.Identity(), lambda _, images: scale * images.flatten(1), kept=KeptEmbeddings(tmp_path))
    embed(encoder, SETS.attack, "attack", 16, 0)
    encoder.kept = KeptEmbeddings(tmp_path, precision="float16")
    with pytest.raises(
        ValueError, match=r"'attack/0' \(attack set\) cannot be kept as float16, .*between 6e-5 and 65504"
    ):
        embed(encoder, SETS.attack, "attack", 16, 0)


@pytest.mark.filterwarnings("ignore:embeddings are not kept")
def test_float16_of_numbers_that_hardly_differ_is_refused(tmp_path):
    kept = KeptEmbeddings(tmp_path, precision="float16")
    encoder = ModuleEncoder(nn.Identity(), lambda _, images: 10 + 0.01 * images.flatten(1), kept=kept)
    found = embed(encoder, SETS.attack, "attack", 16, 0)
    with pytest.raises(ValueError, match=r"attack set differ by .* float16 holds too little: .* at float32"):
        embedding.check_not_collapsed(found, "attack")
    constant = torch.cat(
        [torch.full((10, 1), 10.0), torch.randn(10, 63, generator=torch.Generator().manual_seed(0))], dim=1
    )
    one_large = embedding.Embedded(torch.arange(10), constant.half(), list("abcdefghij"), [0] * 10)
    embedding.check_not_collapsed(
        one_large, "attack"
    )  # a large number that is the same of all takes nothing from the others


def test_other_precisions_are_refused(tmp_path):
    with pytest.raises(ValueError, match="precision='bfloat16' is none of float32, float16"):
        KeptEmbeddings(tmp_path, precision="bfloat16")


def kept_by_one_of_two(folder, precision):
    found, kept, _ = measured(folder, precision=precision)
    return kept, sorted(found.metrics.items())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_several_processes_keep_nothing_and_find_the_same(tmp_path, precision):
    expected = sorted(measured(tmp_path / "alone", precision=precision)[0].metrics.items())
    folder = tmp_path / "kept"
    assert run_processes(2, kept_by_one_of_two, folder, precision) == [("0 of 0", expected)] * 2
    assert list(folder.iterdir()) == []
