"""Tiny runs, how users continue them, and what they must leave behind."""

from __future__ import annotations

import copy
import csv
from pathlib import Path

import torch
import yaml
from PIL import Image

from dejavu_lightning.data import Scenes
from dejavu_lightning.runs.checkpoints import load_checkpoint
from dejavu_lightning.runs.measurement_folder import METRICS
from dejavu_lightning.runs.run_folder import CONFIG, RunFolder
from tests.commands import TINY

UTILITY = {
    "class_path": "dejavu_lightning.callbacks.UtilityMonitor",
    "init_args": {
        "every_n_epochs": 1,
        "probes": [{"class_path": "dejavu_lightning.utility.NearestNeighborProbe", "init_args": {"k": 5}}],
    },
}
VOC = """<annotation><size><width>{1}</width><height>{0}</height><depth>3</depth></size><object><name>thing</name>
<bndbox><xmin>{2}</xmin><ymin>{3}</ymin><xmax>{4}</xmax><ymax>{5}</ymax></bndbox></object></annotation>"""
# Where a run was stopped and continued, loggers and their files differ, and so do the options of the command.
OWN = {CONFIG, "hparams.yaml", "log.txt", "run.json", "study.json", "report.html", "wandb_group", ".lock"}
STARTS = ("metrics.", "hpc_ckpt_")


def write_pictures(folder, count=130):
    """Scenes as PNG files and Pascal VOC boxes."""
    source = Scenes(num_images=count, image_size=32)
    for index, identifier in enumerate(source.ids):
        name = f"{source.labels[index]}/{identifier.replace('/', '_')}"
        picture, boxes = (folder / kind / f"{name}.{end}" for kind, end in (("pictures", "png"), ("boxes", "xml")))
        for file in (picture, boxes):
            file.parent.mkdir(parents=True, exist_ok=True)
        pixels = source.image(index)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(picture)
        left, top, right, bottom = map(int, source.boxes[index][0])
        boxes.write_text(VOC.format(*pixels.shape[1:], left + 1, top + 1, right, bottom))


def write_config(file, pictures, index, utility=True):
    """TINY on a folder of pictures, with both monitors."""
    config = copy.deepcopy(TINY)
    config["trainer"] |= {"max_epochs": 3, "callbacks": [UTILITY] if utility else []}
    arguments = config["data"]["init_args"]
    arguments["source"] = {
        "class_path": "dejavu_lightning.data.ImageFolder",
        "init_args": {"root": f"{pictures}/pictures", "annotations": f"{pictures}/boxes", "index": str(index)},
    }
    arguments |= {"image_size": 32, "storage_size": 32, "batch_size": 20, "validation_per_class": 1}
    file.write_text(yaml.safe_dump(config))
    return file


def continued(folder):
    """The options with which docs/guides/training.md continues a run; none where nothing was saved yet."""
    saved = RunFolder(folder).resumable()
    return ["--ckpt_path", saved] if saved else []


def contents(folder):
    """Tables, curves, figures and weights of a run, a pair or a study, by name; all as bytes or tensors."""
    found = {}
    for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        if file.name in OWN or (file.name.startswith(STARTS) and file.name != METRICS):
            continue
        if file.suffix == ".ckpt":
            checkpoint = load_checkpoint(file)
            found[name] = (checkpoint["state_dict"], checkpoint["optimizer_states"], checkpoint["global_step"])
        elif file.name == "table.csv":
            with file.open(newline="") as opened:
                found[name] = [{**row, "seconds": ""} for row in csv.DictReader(opened)]
        else:
            found[name] = file.read_bytes().replace(str(folder).encode(), b"")  # metrics.json names files
    return found


def differing(first, second):
    """Names of files that only one has, or that differ."""
    return sorted(name for name in first.keys() | second.keys() if not same(first.get(name), second.get(name)))


def same(one, other):
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other
