"""One table of bad input: each is a named error of at most ten lines, which says what came and what is wanted."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from dejavu_lightning.cli import main
from dejavu_lightning.cli.evaluation.trained import load_model
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.torch_file import read_torch_file
from dejavu_lightning.data.partition.split_files import read_manifest
from dejavu_lightning.embedding.embed import embed
from dejavu_lightning.embedding.pairs import caption
from dejavu_lightning.memorization import Checkpoint, LabelInference
from dejavu_lightning.pretrained import OpenClipModel, TorchScriptFile, WeightsFile
from dejavu_lightning.pretrained.projector import rebuild_projector
from dejavu_lightning.runs.checkpoints import load_checkpoint
from tests.models import Pairs

LONGEST = 10
IDS = [f"id{number}" for number in range(6)]
RESNET = "torchvision/resnet18"


def weights(path, content=None):
    torch.save({"a": torch.ones(400)} if content is None else content, path)
    return path


def cut(path, share=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def text(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def folder(path, *names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()
    path.mkdir(exist_ok=True)
    return path


def tensors(path):
    save_file({"a": torch.ones(400)}, path)
    return path


def script(path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    return path


class CallsOpen:
    def __reduce__(self):
        return (open, ("/nowhere",))


# name: (what is called with an empty folder, what the message must hold)
FILES = {
    "no file": (lambda t: read_torch_file(t / "a.pt"), r"there is no file \S+a\.pt"),
    "empty": (lambda t: read_torch_file(text(t / "a.pt", "")), r"a\.pt: is empty: .*get it again"),
    "Git LFS": (
        lambda t: read_torch_file(text(t / "a.pt", "version https://git-lfs.github.com/spec/v1")),
        "git lfs pull",
    ),
    "web page": (lambda t: read_torch_file(text(t / "a.pt", "\n<!DOCTYPE html>")), "a.pt: is a web page"),
    "words": (lambda t: read_torch_file(text(t / "a.pt", "hello")), "neither weights of torch.save nor safetensors"),
    "cut archive": (
        lambda t: read_torch_file(cut(weights(t / "a.pt"))),
        r"a\.pt: is cut off or damaged: after its [\d,]+ bytes",
    ),
    "cut safetensors": (lambda t: read_torch_file(cut(tensors(t / "a.safetensors"))), "is cut off or damaged"),
    "cut legacy": (
        lambda t: read_torch_file(cut(_legacy(t / "a.pt"))),
        "neither weights of torch.save nor safetensors, or damaged",
    ),
    "TorchScript as weights": (
        lambda t: read_torch_file(script(t / "a.pt")),
        "a TorchScript file, not weights; name it as",
    ),
    "another archive": (lambda t: read_torch_file(_zip(t / "a.pt")), "an archive, but not one that torch.save writes"),
    "calls a function": (
        lambda t: read_torch_file(weights(t / "a.pt", {"x": CallsOpen()})),
        r"would run code .*refused: \S*open\b[\s\S]*torch\.save\(\{k: v for k, v in torch\.load\(FILE",
    ),
    "FSDP folder": (
        lambda t: read_torch_file(folder(t / "a.ckpt", ".metadata", "meta.pt")),
        r"a\.ckpt is a folder, the sharded checkpoint that FSDP[\s\S]*consolidate_checkpoint \S+a\.ckpt --output_file",
    ),
    "torch.distributed folder": (
        lambda t: read_torch_file(folder(t / "a", ".metadata")),
        r"format_utils dcp_to_torch \S+a \S+a\.consolidated",
    ),
    "DeepSpeed folder": (
        lambda t: read_torch_file(folder(t / "a", "checkpoint/mp_rank_00_model_states.pt", "zero_to_fp32.py")),
        r"that DeepSpeed writes[\s\S]*convert_zero_checkpoint_to_fp32_state_dict",
    ),
    "folder of transformers": (lambda t: read_torch_file(folder(t / "a", "config.json")), "folder with a config.json"),
    "another folder": (lambda t: read_torch_file(folder(t / "a", "x.txt")), "is a folder, not a file; it holds x.txt"),
    "empty folder": (lambda t: read_torch_file(folder(t / "a")), "it holds nothing; name one file"),
    "FSDP as WeightsFile": (
        lambda t: WeightsFile(str(folder(t / "a", ".metadata")), RESNET).load(),
        "sharded checkpoint",
    ),
    "FSDP as OpenClipModel": (
        lambda t: OpenClipModel("dejavu-tiny", str(folder(t / "a", ".metadata"))).load(),
        "sharded checkpoint",
    ),
    "FSDP as TorchScriptFile": (
        lambda t: TorchScriptFile(str(folder(t / "a", ".metadata"))).load(),
        "sharded checkpoint",
    ),
    "FSDP as target": (lambda t: load_model(str(folder(t / "a", ".metadata"))), "sharded checkpoint"),
    "run folder as target": (
        lambda t: load_model(str(folder(t / "run", "checkpoints/epoch=0002.ckpt", "checkpoints/last.ckpt"))),
        r"run is a folder; name one of the checkpoints in \S+checkpoints: epoch=0002\.ckpt, last\.ckpt",
    ),
    "FSDP as reference": (
        lambda t: Checkpoint(folder(t / "a", ".metadata")).check(LabelInference(), _sets(), [0]),
        "Checkpoint: .* sharded checkpoint",
    ),
    "FSDP in the reference's folder": (
        lambda t: Checkpoint(folder(t / "a", "last.ckpt/.metadata")).check(LabelInference(), _sets(), [0]),
        r"last\.ckpt is a folder, the sharded checkpoint",
    ),
    "weights as a checkpoint": (
        lambda t: load_checkpoint(weights(t / "a.pt")),
        r"no 'state_dict' \(it holds a\); weights of others are measured as --target WeightsFile",
    ),
    "entry of a tag": (
        lambda t: OpenClipModel("dejavu-tiny", entry="x").load(),
        "are of a file of weights, and pretrained=None",
    ),
    "wrong entry": (
        lambda t: OpenClipModel("dejavu-tiny", str(weights(t / "a.pt")), entry="x").load(),
        r"has no state dict entry='x'; it has '' \(1 tensors\)",
    ),
    "projector of names": (
        lambda t: rebuild_projector({"fc.weight": torch.ones(2, 2)}, "relu", "F"),
        r"'fc\.weight' is not of a Sequential; projector_prefix must end where",
    ),
    "projector with a convolution in a block": (
        lambda t: rebuild_projector({"0.0.weight": torch.ones(2, 2, 1, 1)}, "relu", "F"),
        r"F, in the block at position 0: at position 0 is neither .*use CallableModel",
    ),
}
MANIFESTS = {
    "no file": (
        lambda t: t / "a.parquet",
        r"a\.parquet': there is no such file\. A manifest is splits\.parquet of a run",
    ),
    "one list": (
        lambda t: npy(t / "bbox_A.npy", [0, 1]),
        r"bbox_A\.npy' is one list, .*dejavu-lightning split --config",
    ),
    "another format": (lambda t: text(t / "a.json", "{}"), r"ends in '\.json'\. A manifest is"),
    "no table": (lambda t: text(t / "a.parquet", "x"), r"a\.parquet' is no table of its kind"),
    "no column": (lambda t: table(t / "a.parquet", name=IDS), "has no column id and split, only name"),
    "unknown split": (
        lambda t: table(t / "a.parquet", id=IDS, split=["A", "B", "C", "A", "A", "A"]),
        "row 3 has id 'id2' in split 'C'",
    ),
    "no id": (lambda t: table(t / "a.parquet", id=[None], split=["A"]), "row 1 has id None in split 'A'"),
    "no public set": (lambda t: table(t / "a.parquet", id=IDS[:2], split=["A", "B"]), "nothing is in split public"),
    "strange ids": (
        lambda t: table(t / "a.csv", id=["x", "id1", "id2"], split=["A", "B", "public"]),
        r"a\.csv': 1 ids of the manifest are not in the source, such as 'x'",
    ),
    "id twice": (
        lambda t: table(t / "a.csv", id=["id1", "id1", "id2"], split=["A", "B", "public"]),
        r"a\.csv': id 'id1' is in split 'A' and again in 'B'",
    ),
    "folder without lists": (
        lambda t: folder(t / "a", "x.json"),
        "is a folder with no list; its lists are called A, B, shared",
    ),
    "folder with a strange list": (
        lambda t: folder(t / "a", "A.txt", "C.txt"),
        "a folder with 'C.txt', which names no split",
    ),
    "two lists": (lambda t: folder(t / "a", "A.txt", "A.npy"), "is no array of NumPy"),
    "list of strange ids": (
        lambda t: lists(t, A="id0\nx"),
        r"A\.txt: 1 of its 2 ids are not in the source, such as 'x'",
    ),
    "list in another encoding": (lambda t: lists(t, A=b"\xff\xfe"), r"A\.txt is not UTF-8"),
    "list out of range": (
        lambda t: lists(t, A=[0, 6]),
        r"A\.npy names position 6, the source has 6 pictures, from 0 on",
    ),
    "list of masks": (lambda t: lists(t, A=[True, False]), r"A\.npy holds bool of shape \(2,\); expected positions"),
    "list of objects": (
        lambda t: lists(t, A=np.array([{}], dtype=object)),
        r"A\.npy is no array of NumPy without Python objects",
    ),
    "table of pairs": (lambda t: lists(t, A=[[0, 1]]), r"A\.npy holds int64 of shape \(1, 2\)"),
}


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


class Failing:
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return {"image": 1}["picture"] if index == 2 else (torch.zeros(3, 4, 4), 0)


IMAGE = torch.rand(3, 4, 4)
SETS = {
    "None": (None, "the public set must be a map-style data set, .*; got None"),
    "DataLoader": (DataLoader([1]), r"got a DataLoader: give the data set it loads, loader\.dataset"),
    "IterableDataset": (Stream(), r"got an IterableDataset, Stream: give list\(dataset\)"),
    "mapping": ({0: 1}, "got a dict"),
    "tensor": (torch.zeros(3, 3, 4, 4), "got a Tensor"),
    "path": ("data/public", "got a str"),
    "number": (3, "got a int"),
}
SAMPLES = {
    "no label": ((IMAGE, None), "sample 0 of the public set has None for a label; expected a whole number"),
    "text label": ((IMAGE, "cat"), "has str 'cat' for a label; expected a whole number from 0 on"),
    "soft label": ((IMAGE, torch.tensor([0.5, 0.5])), r"a Tensor of torch.float32 and shape \(2,\) for a label"),
    "two hot": ((IMAGE, [1, 1, 0]), "has a list of 3 for a label"),
    "half a label": ((IMAGE, 1.5), r"has float 1\.5 for a label"),
    "no image": ((None, 1), "sample 0 of the public set has None for an image; expected a tensor"),
    "path for an image": (("a.jpg", 1), r"has str 'a\.jpg' for an image"),
    "text array": ((np.array(["a"]), 1), r"has a ndarray of <U1 and shape \(1,\) for an image"),
    "three parts": ((IMAGE, 1, 2), r"sample 0 of the public set is a tuple of 3; expected a mapping"),
    "other names": ({"img": IMAGE, "fine_label": 1}, r"is a mapping with \['fine_label', 'img'\]; expected a mapping"),
    "image alone": (IMAGE, r"is a Tensor of torch\.float32 and shape \(3, 4, 4\); expected a mapping"),
    "text": ("ab", "is str 'ab'; expected a mapping"),
}


def npy(path, content):
    np.save(path, content, allow_pickle=True)
    return path


def table(path, **columns):
    found = pa.table(columns)
    if path.suffix == ".parquet":
        pq.write_table(found, path)
    else:
        pa.csv.write_csv(found, path)
    return path


def lists(folder, **given):
    (folder / "lists").mkdir()
    for name, content in given.items():
        if isinstance(content, str | bytes):
            text(folder / "lists" / f"{name}.txt", content)
        else:
            npy(folder / "lists" / f"{name}.npy", content)
    return folder / "lists"


def _legacy(path):
    torch.save({"a": torch.ones(400)}, path, _use_new_zipfile_serialization=False)
    return path


def _zip(path):
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    return path


def _sets():
    return MemorizationSets(Pairs(20, 0), Pairs(20, 1), num_classes=10)


def refused(call, message):
    with pytest.raises((ValueError, TypeError, FileNotFoundError)) as caught:
        call()
    told = str(caught.value)
    assert re.search(message, told), told
    assert len(told.splitlines()) <= LONGEST
    assert len(told) < 1000


@pytest.mark.parametrize("name", FILES)
def test_files_of_weights(name, tmp_path):
    call, message = FILES[name]
    refused(lambda: call(tmp_path), message)


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests(name, tmp_path):
    make, message = MANIFESTS[name]
    path = make(tmp_path)
    refused(lambda: read_manifest(path, IDS), f"^manifest='{re.escape(str(path))}'")
    refused(lambda: read_manifest(path, IDS), message)


@pytest.mark.parametrize("name", SETS)
def test_sets_of_hosts(name):
    given, message = SETS[name]
    refused(lambda: MemorizationSets(attack=Pairs(4, 0), public=given, num_classes=10), message)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_set_that_fails_is_named(workers):
    refused(
        lambda: embed(lambda images: images.flatten(1), Failing(), "public", 2, workers),
        r"^sample 2 of the public set: KeyError: 'picture'$",
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_of_hosts(name):
    given, message = SAMPLES[name]
    refused(lambda: embed(lambda images: images.flatten(1), [given], "public", 2, 0), message)


@pytest.mark.parametrize("batch_size", [2, 8])
def test_pictures_of_unequal_sizes(batch_size):
    samples = [(torch.zeros(3, 4, 4), 0)] * 4 + [(torch.zeros(3, 4, 5), 1)]
    refused(
        lambda: embed(lambda images: images.mean(dim=(2, 3)), samples, "public", batch_size, 0),
        r"sample 4 of the public set has an image of shape \(3, 4, 5\), sample 0 one of \(3, 4, 4\); .*resize and crop",
    )


@pytest.mark.parametrize("given", [None, 3, ["a", "b"]])
def test_captions_that_are_no_text(given):
    sample = {"caption": given, "id": "x", "objects": [0]}
    refused(lambda: caption(sample, 5, "attack"), "sample 5 of the attack set has .* for a caption; expected one text")


CONFIGS = {
    "mistyped config": (["--config", "config/quikstart.yaml"], r"nearest: configs/quickstart\.yaml, \S+, \S+$"),
    "no YAML": (["--config", "{broken}"], r"--config \S+broken\.yaml is no YAML: [\s\S]*line 1"),
    "a list": (["--config", "{list}"], r"list\.yaml holds a list, expected sections such as data:"),
    "mistyped option": (
        ["--trainer.precison", "3"],
        r"no option --trainer\.precison; did you mean --trainer\.precision",
    ),
    "mistyped argument of a class": (
        ["--data", "ImageDataModule", "--data.sorce.root", "x"],
        r"ImageDataModule has no argument 'sorce\.root'; did you mean source\?",
    ),
    "mistyped class": (
        ["--memorization.test", "LabelInferenc"],
        r"--memorization\.test: there is no class 'LabelInferenc'; did you mean LabelInference",
    ),
    "mistyped method": (["--model", "VICRegg"], "no method 'VICRegg'; did you mean VICReg"),
    "text for a number": (
        ["--memorization.every_n_epochs", "x"],
        r"--memorization\.every_n_epochs: expected int, got x",
    ),
    "no such module": (["--trainer.logger", "x.Y"], r"--trainer\.logger: x\.Y: No module named 'x'"),
    "a lacking argument": (
        ["--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping"],
        r"EarlyStopping: the following arguments are required: monitor",
    ),
    "no checkpoint to resume from": (
        ["--ckpt_path", "/nowhere.ckpt"],
        r"--ckpt_path /nowhere\.ckpt: there is no such checkpoint",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_and_options(name, config, tmp_path, capsys):
    given, message = CONFIGS[name]
    files = {"broken": text(tmp_path / "broken.yaml", "a: [1"), "list": text(tmp_path / "list.yaml", "- 1")}
    words = ["fit", "--config", str(config), "--trainer.default_root_dir", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as caught:
        main([*words, *(word.format(**files) for word in given)])
    told = capsys.readouterr().err + str(caught.value)
    assert re.search(message, told), told
    assert "Traceback" not in told
    assert len(told.splitlines()) <= LONGEST
    assert not (tmp_path / "run").exists()
