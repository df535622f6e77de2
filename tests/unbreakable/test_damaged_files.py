"""Damaged and hostile files: each is read, or refused by a named error of a few lines, and nothing in it is run."""

import json
import os
import pickle
import random
import resource
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from dejavu_lightning.core.records import Records
from dejavu_lightning.core.torch_file import read_torch_file
from dejavu_lightning.data.partition.split_files import read_manifest
from dejavu_lightning.data.partition.splits import SplitManifest
from dejavu_lightning.runs.checkpoints import completed_epochs, load_checkpoint
from dejavu_lightning.runs.history import read_history, write_history
from dejavu_lightning.runs.measurement_folder import (
    read_class_names,
    read_metrics,
    read_records,
    read_table,
    read_terms,
    write_class_names,
    write_metrics,
    write_records,
    write_terms,
)
from tests.test_bad_input import LONGEST

IDS = [f"picture-{number:03d}" for number in range(40)]
CONTENT = {
    "state_dict": {"backbone.weight": torch.arange(600.0).reshape(20, 30), "backbone.bias": torch.ones(20)},
    "loops": {"fit_loop": {"epoch_progress": {"current": {"processed": 7}}}},
    "epoch": 6,
}
ROOM = 2 << 30  # bytes that reading a file of kilobytes may take beside what the process has
SECONDS = 5


def checkpoint(folder):
    torch.save(CONTENT, folder / "a.ckpt")
    return folder / "a.ckpt", lambda: completed_epochs(load_checkpoint(folder / "a.ckpt"))


def old_checkpoint(folder):
    torch.save(CONTENT, folder / "a.pt", _use_new_zipfile_serialization=False)
    return folder / "a.pt", lambda: read_torch_file(folder / "a.pt")


def safetensors(folder):
    save_file(CONTENT["state_dict"], folder / "a.safetensors")
    return folder / "a.safetensors", lambda: read_torch_file(folder / "a.safetensors")


def records(folder):
    columns = {"id": IDS, "correct": [True, False] * 20, "confidence": np.linspace(-2, 0, 40)}
    write_records(folder, "target", Records(pa.table(columns), {"k": 3, "test": "label_inference"}))
    return folder / "target.parquet", lambda: read_records(folder, "target").ids


def terms(folder):
    write_terms(folder, {"score": [(IDS, np.linspace(0, 1, 40))]})
    return folder / "terms.parquet", lambda: (read_terms(folder, "score"), read_table(folder, "terms"))


def manifest(folder):
    SplitManifest({"A": IDS[:20], "B": IDS[20:], "public": ["other"]}).save(folder / "splits.parquet")
    return folder / "splits.parquet", lambda: read_manifest(folder / "splits.parquet", [*IDS, "other"])


def history(folder):
    write_history(folder, [{"epoch": float(epoch), "score": 0.1 * epoch, "score_low": -0.1} for epoch in range(9)])
    return folder / "history.csv", lambda: [int(row["epoch"]) for row in read_history(folder)]


def metrics(folder):
    write_metrics(folder, {"metrics": {"score": 0.25, "score_low": 0.1}, "epoch": 4, "sample_gaps": [{"share": 0.1}]})
    return folder / "metrics.json", lambda: read_metrics(folder)


def class_names(folder):
    write_class_names(folder, ["tench", "goldfish", "naïve"])
    return folder / "classes.json", lambda: read_class_names(folder)


KINDS = (checkpoint, old_checkpoint, safetensors, records, terms, manifest, history, metrics, class_names)


def damaged(content, draw):
    """Cut off, with bits turned over, with a run of zeros, or with bytes too many."""
    changed = bytearray(content)
    kind, at = draw.randrange(5), draw.randrange(len(content))
    if kind == 0:
        return bytes(changed[:at])
    if kind == 1:
        changed[at : at + draw.randrange(1, 64)] = bytes(draw.randrange(1, 64))
    elif kind == 2:
        changed[at:at] = draw.randbytes(draw.randrange(1, 40))
    elif kind == 3:  # a number of 8 bytes, such as a size, that is absurd
        changed[at : at + 8] = struct.pack("<Q", draw.choice([2**63, 2**40, 2**31 - 1, 2**64 - 1]))
    else:
        for _ in range(draw.choice([1, 1, 2, 8])):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def read_or_refuse(read, name):
    """What is wrong with how a file was taken; empty if nothing is."""
    began = time.monotonic()
    try:
        read()
    except (ValueError, FileNotFoundError) as error:
        told = str(error)
        if name not in told:
            return f"does not name the file: {type(error).__name__}: {told}"
        if len(told.splitlines()) > LONGEST or len(told) > 1500:
            return f"too long: {told}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    took = time.monotonic() - began
    return f"{took:.1f} s" if took > SECONDS else ""


def in_a_process(function):
    """Call it where memory is bounded and a crash is seen; lines that it writes are what is wrong."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
            with os.fdopen(writer, "w") as told:
                function(told)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as told:
        found = told.read().splitlines()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return [line for line in found if not line.startswith("at ")] + (
        [f"ended with {code} {found[-1] if found else ''}"] if code else []
    )


def damage(kind, folder, rounds, seed):
    file, read = kind(folder)
    read()
    content, draw = file.read_bytes(), random.Random(f"{kind.__name__} {seed}")

    def run(told):
        for number in range(rounds):
            print(f"at {number}", file=told, flush=True)
            file.write_bytes(damaged(content, draw))
            wrong = read_or_refuse(read, file.name)
            if wrong:
                print(f"{number}: {wrong[:600]!r}", file=told, flush=True)

    return in_a_process(run)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused(kind, tmp_path):
    assert damage(kind, tmp_path, 30, seed=0) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_are_read_or_refused(kind, tmp_path):
    assert damage(kind, tmp_path, 600, seed=1) == []


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, call, *arguments):
        self.reduced = (call, arguments)

    def __reduce__(self):
        return self.reduced


HOSTILE = {
    "system": lambda mark: Runs(os.system, f"touch {mark}"),
    "open": lambda mark: Runs(open, str(mark), "w"),
    "exec": lambda mark: Runs(exec, f"open({str(mark)!r}, 'w')"),
    "torch.load": lambda mark: Runs(torch.load, str(mark)),
    "hub": lambda mark: Runs(torch.hub.download_url_to_file, "file:///etc/hostname", str(mark)),
    "in a dict": lambda mark: {"state_dict": {"w": torch.ones(2)}, "hyper_parameters": Runs(os.mkdir, str(mark))},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
def test_pickles_that_would_run_code_are_refused(name, zipped, tmp_path):
    file, mark = tmp_path / "a.ckpt", tmp_path / "mark"
    torch.save(HOSTILE[name](mark), file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="would run code when loaded, which is refused") as caught:
        load_checkpoint(file)
    assert str(file) in str(caught.value)
    assert not mark.exists()


def test_a_bare_pickle_is_not_run(tmp_path):
    file, mark = tmp_path / "a.ckpt", tmp_path / "mark"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        file.write_bytes(pickle.dumps(Runs(os.mkdir, str(mark)), protocol))
        with pytest.raises(ValueError, match=r"a\.ckpt"):
            load_checkpoint(file)
    assert not mark.exists()


def archive(file, names=(), data=None, compression=zipfile.ZIP_STORED):
    """A checkpoint of torch.save with further entries, or another pickle."""
    torch.save(CONTENT, file)
    with zipfile.ZipFile(file) as given:
        entries = {name: given.read(name) for name in given.namelist()}
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, content in entries.items():
            made.writestr(name, data if data is not None and name.endswith("data.pkl") else content)
        for name in names:
            made.writestr(name, b"out")
    return file


def test_paths_that_climb_out_of_an_archive_write_nothing(tmp_path):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    file = archive(inside / "a.ckpt", ["../../climbed", f"{tmp_path}/absolute", "a/../../../climbed"])
    assert read_or_refuse(lambda: load_checkpoint(file), "a.ckpt") == ""
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "a.ckpt", "b"]


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path):
    file = archive(tmp_path / "a.ckpt", data=bytes(1 << 30), compression=zipfile.ZIP_DEFLATED)
    assert file.stat().st_size < 4 << 20

    def run(told):
        resource.setrlimit(resource.RLIMIT_AS, (resource.getrlimit(resource.RLIMIT_AS)[0] - ROOM + (1 << 28),) * 2)
        print(read_or_refuse(lambda: load_checkpoint(file), "a.ckpt"), file=told)
        with pytest.raises(ValueError, match=r"is packed, which torch\.save does not do"):
            load_checkpoint(file)

    assert in_a_process(run) == [""]


@pytest.mark.parametrize("size", [(1 << 40,), (1 << 31, 1 << 31), (-5,), (1 << 62, 4)])
def test_absurd_sizes_of_tensors_are_refused(size, tmp_path):
    header = {"w": {"dtype": "F32", "shape": list(size), "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        read_torch_file(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + text)
    with pytest.raises(ValueError, match=r"b\.safetensors"):
        read_torch_file(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("metrics.json", "[" * 100_000, read_metrics),
        ("metrics.json", '{"metrics": {"score": ' + "9" * 5000 + "}}", read_metrics),
        ("metrics.json", '{"metrics": {"score": "0.25"}}', read_metrics),
        ("metrics.json", '{"metrics": {"score": [1]}}', read_metrics),
        ("classes.json", '{"a": 1}', read_class_names),
        ("classes.json", "[1, null]", read_class_names),
        ("history.csv", "epoch,score\ninf,0.1\n", read_history),
        ("history.csv", "epoch,score\nnan,0.1\n", read_history),
        ("history.csv", "epoch,score\n1.5,0.1\n", read_history),
        ("history.csv", "epoch,score\n1,0.1,0.2\n", read_history),
        ("history.csv", "epoch,score\n1," + "9" * 200_000 + "\n", read_history),
        ("history.csv", b"epoch,score\n\xff\xfe,1\n", read_history),
        ("history.csv", b"epoch,score\n1,\x00\n", read_history),
    ],
)
def test_texts_that_make_no_sense_are_named(name, content, read, tmp_path):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=name.replace(".", r"\.")) as caught:
        read(tmp_path)
    assert len(str(caught.value).splitlines()) <= LONGEST
    assert len(str(caught.value)) < 1000


def test_a_bit_that_turned_over_among_the_values_of_a_table_is_seen(tmp_path):
    file, _ = records(tmp_path)
    content, written = file.read_bytes(), read_records(tmp_path, "target").table
    values = len(content) - 8 - int.from_bytes(content[-8:-4], "little")  # before the description of the columns
    seen = 0
    for at in range(4, values, 5):
        changed = bytearray(content)
        changed[at] ^= 16
        file.write_bytes(changed)
        try:
            found = read_records(tmp_path, "target").table
        except ValueError:
            seen += 1
            continue
        assert found.equals(written), at
    assert seen > values // 10
