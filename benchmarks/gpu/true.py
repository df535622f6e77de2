"""True: pairs trained from scratch at a size that two CPU cores do not allow, with their controls."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import torch
from dejavu_lightning.callbacks import MemorizationMonitor
from lightning.pytorch import Callback, LightningModule, seed_everything

from dejavu_lightning.data import (
    CaptionDataModule,
    CocoCaptions,
    ImageDataModule,
    ImageFolder,
    ObjectScenes,
    RandomViews,
    Scenes,
)
from dejavu_lightning.data.sources.caption_source import CaptionSource
from dejavu_lightning.memorization import LabelInference, MemorizationTest, ModuleEncoder, ObjectRetrieval, SecondModel
from dejavu_lightning.memorization.measure import measure
from dejavu_lightning.methods import CLIP, ClipOptimizerConfig, OptimizerConfig, Temperature, VICReg
from gpu.checks import Section, Setting, Skip
from gpu.training import PLAIN, trainer

CHECKS = Section()
# Where photographs are given they come first: all checks together may take more than the section has.
# Mild, as in configs/quickstart.yaml: with strong jitter nothing is memorized of painted scenes.
MILD = {
    "flip": 0.0,
    "brightness": 0.1,
    "contrast": 0.1,
    "saturation": 0.1,
    "hue": 0.05,
    "jitter": 1.0,
    "grayscale": 0.0,
}


class Curve(Callback):
    """Tells the curve so far, so that a run that is cut keeps it."""

    def __init__(self, monitor: MemorizationMonitor, found: dict[str, Any], shown: tuple[str, ...]) -> None:
        self.monitor, self.found, self.shown = monitor, found, shown

    def on_train_epoch_end(self, *_: Any) -> None:
        rows = [{name: row.get(name) for name in ("epoch", *self.shown)} for row in self.monitor.history]
        self.found["curve of the target against held-out records"] = rows


def pair(
    setting: Setting,
    found: dict[str, Any],
    build: Callable[[], LightningModule],
    data_of: Callable[[str], Any],
    test: MemorizationTest,
    epochs: int,
    shown: tuple[str, ...],
) -> None:
    """Train the target on split A and the reference on split B, and compare them; ``shown`` are the metrics told."""
    models, data = {}, {split: data_of(split) for split in "AB"}
    for split in "AB":
        seed_everything(0, verbose=False)
        module = build()
        callbacks: list[Callback] = []
        if split == "A":
            monitor = MemorizationMonitor(test=test, every_n_epochs=max(1, epochs // 2), figures=False)
            callbacks = [monitor, Curve(monitor, found, shown[:3])]
        start = time.perf_counter()
        folder = setting.scratch / f"{type(module).__name__}-{split}-{test.name}"
        run = trainer(setting, folder, max_epochs=epochs, precision="bf16-mixed", callbacks=callbacks)
        run.fit(module, datamodule=data[split])
        found[f"seconds of split {split}"] = time.perf_counter() - start
        models[split] = module.to(setting.device)
    sets = data["A"].memorization_sets()
    reference = SecondModel(ModuleEncoder(models["B"]), data["B"].record)
    estimates = measure(models["A"], test, reference, sets, epochs).estimates
    found |= {"epochs": epochs, "records": len(sets.attack), "public": len(sets.public)}
    found["target against reference"] = [
        {"metric": name, "value": estimates[name].value, "low": estimates[name].low, "high": estimates[name].high}
        for name in shown
        if name in estimates
    ]


def vicreg(setting: Setting, side: int) -> VICReg:
    return VICReg(
        backbone=setting.pick("torchvision/resnet18", "small_resnet"),
        projector_widths=setting.pick((1024, 1024, 1024), (64, 64)),
        image_size=side,
        optimizer=OptimizerConfig("adamw", base_lr=setting.pick(2e-3, 0.016), weight_decay=1e-4, warmup_epochs=1),
    )


GAPS = ("ppg", "control_ppg", "prg", "net_ppg", "control_prg", "net_prg")
SCORES = ("net_score", "score", "control_score", "target_accuracy", "reference_accuracy", "net_score@20", "memorized")


@CHECKS.check(seconds=100)
def vicreg_on_photographs(setting: Setting, found: dict[str, Any]) -> None:
    """A VICReg pair on photographs: ResNet-18 at 96 px from scratch."""
    if setting.photos is None:
        raise Skip("no photographs: name their folder with --photos")
    root, boxes = setting.photos / "train", setting.photos / "Annotation"
    source = ImageFolder(str(root), str(boxes))
    side, workers = 96, min(12, max(0, (os.cpu_count() or 1) - 2))
    counts = torch.bincount(torch.as_tensor(source.labels), minlength=len(source.class_names))
    each = int(counts.min())
    # Few pictures and many epochs, as in configs/photographs/vicreg.yaml.
    per_class, held_out = max(2, min(each // 4, 15)), max(2, min(each // 4, 50))
    found |= {"photographs": len(source.ids), "classes": len(source.class_names), "per class": per_class}
    views = RandomViews(side, scale=(0.1, 1.0), **MILD)

    def data(split: str) -> ImageDataModule:
        return ImageDataModule(
            source,
            train_on=split,  # type: ignore[arg-type]
            image_size=side,
            storage_size=128,
            per_class=per_class,
            held_out_per_class=held_out,
            min_crop_side=32,
            batch_size=setting.pick(min(150, per_class * len(source.class_names)), 10),
            views=views,
            num_workers=workers,
            pin_memory=setting.on_gpu,
        )

    test = LabelInference(k=setting.pick(50, 5), num_workers=workers)
    pair(setting, found, lambda: vicreg(setting, side), data, test, setting.pick(300, 2), SCORES)


@CHECKS.check(seconds=100)
def clip_on_photographs(setting: Setting, found: dict[str, Any]) -> None:
    """A small CLIP from scratch at 96 px on captioned photographs, with held-out control."""
    folder = None if setting.photos is None else setting.photos.parent / "coco"
    if folder is None or not folder.is_dir():
        raise Skip("no captioned photographs: a folder coco/ beside that of --photos")
    captions, instances = (str(folder / "annotations" / f"{name}_train.json") for name in ("captions", "instances"))
    source = CocoCaptions(str(folder / "images" / "train"), captions, instances)
    size = len(source.ids)
    found |= {"photographs": size}
    split_size, held_out, epochs = max(8, size // 4), max(8, size // 8), setting.pick(60, 2)
    clip_pair(setting, found, source, setting.pick(96, 48), split_size, held_out, setting.pick(200, 8), epochs)


@CHECKS.check(seconds=100)
def vicreg_on_scenes(setting: Setting, found: dict[str, Any]) -> None:
    """A VICReg pair on painted scenes: ResNet-18 at 96 px from scratch, with held-out control."""
    scenes, side, per_class, held_out, batch, epochs = setting.pick(
        (4000, 96, 100, 50, 250, 150), (300, 32, 5, 4, 20, 2)
    )
    source = Scenes(scenes, image_size=side)
    views = RandomViews(side, scale=(0.1, 1.0), **MILD, **PLAIN)

    def data(split: str) -> ImageDataModule:
        return ImageDataModule(
            source,
            train_on=split,  # type: ignore[arg-type]
            image_size=side,
            per_class=per_class,
            held_out_per_class=held_out,
            min_crop_side=setting.pick(18, 6),
            batch_size=batch,
            views=views,
            **PLAIN,
        )

    test = LabelInference(k=setting.pick(20, 5))
    pair(setting, found, lambda: vicreg(setting, side), data, test, epochs, SCORES)


@CHECKS.check(seconds=60)
def clip_on_scenes(setting: Setting, found: dict[str, Any]) -> None:
    """A CLIP pair on painted scenes of several objects at 96 px, from scratch, with held-out control."""
    scenes, side, split_size, held_out, batch, epochs = setting.pick(
        (4500, 96, 1000, 500, 200, 48), (240, 48, 60, 40, 20, 2)
    )
    clip_pair(setting, found, ObjectScenes(scenes, image_size=side), side, split_size, held_out, batch, epochs)


def clip_pair(
    setting: Setting,
    found: dict[str, Any],
    source: CaptionSource,
    side: int,
    split_size: int,
    held_out: int,
    batch: int,
    epochs: int,
) -> None:
    """Train and compare a pair of the package's tiny CLIP."""
    views = RandomViews(side, num_views=1, scale=(0.4, 1.0), **MILD, **PLAIN)

    def data(split: str) -> CaptionDataModule:
        return CaptionDataModule(
            source,
            train_on=split,  # type: ignore[arg-type]
            per_split=split_size,
            held_out=held_out,
            image_size=side,
            batch_size=batch,
            views=views,
            num_workers=setting.pick(8, 0),
            **PLAIN,
        )

    def build() -> CLIP:
        return CLIP(
            model="dejavu-tiny",
            model_options={"force_image_size": side},
            temperature=Temperature(initial=0.2),
            optimizer=ClipOptimizerConfig(lr=2e-3, weight_decay=0.1, warmup_steps=setting.pick(10, 2)),
        )

    test = ObjectRetrieval(k=10, ks=setting.pick((1, 10, 100), (1,)), unnamed_only=True)
    pair(setting, found, build, data, test, epochs, GAPS)
