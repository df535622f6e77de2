"""Images per second of our training step over lightly's, in one run.

python benchmarks/training.py                                        # 2 CPU cores, small network
python benchmarks/training.py --backbone torchvision/resnet50 --size 224 --workers 12 --precision bf16-mixed
python benchmarks/training.py --backbone torchvision/resnet18 --profile   # and what a step of either side spends

Both sides train the same network from the same JPEG files with the same batch, the same kinds of views and
optimiser. Ours: this package's data module (one decode a picture, views batched on the device, cropped from
squares of 8/7 the view, which is part of the difference) and method, with its defaults. Theirs: lightly's
transform in the loader's workers, lightly's loss, a plain LightningModule. The sides take turns; a rate is the
median over turns of the steady state, start-up left out.
"""

import argparse
import contextlib
import io
import logging
import statistics
import tempfile
import warnings
from pathlib import Path

import torch
from lightly.loss import BarlowTwinsLoss, DINOLoss, VICRegLoss
from lightly.models.utils import update_momentum
from lightly.transforms import DINOTransform, VICRegTransform
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.profilers import SimpleProfiler
from shared import Clock, write_pictures
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder as Folder

from dejavu_lightning.data import ImageDataModule, ImageFolder, RandomViews
from dejavu_lightning.methods import DINO, BarlowTwins, OptimizerConfig, VICReg

STRONG = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}


class Plain(LightningModule):
    """What a user of lightly writes, around the networks of our own method."""

    def __init__(self, name, own):
        super().__init__()
        self.name, self.own = name, own
        prototypes = own.prototypes.weight.shape[0] if name == "dino" else 0
        criteria = {"vicreg": VICRegLoss, "barlow_twins": BarlowTwinsLoss, "dino": lambda: DINOLoss(prototypes)}
        self.criterion = criteria[name]()

    def training_step(self, batch, _):
        views = batch[0]
        if self.name != "dino":
            return self.criterion(*(self.own.projector(self.own.backbone(view)) for view in views))
        teacher = self.own.teacher
        for part in ("backbone", "projector", "prototypes"):
            update_momentum(getattr(self.own, part), teacher[part], m=0.996)
        with torch.no_grad():
            targets = [teacher["prototypes"](teacher["projector"](teacher["backbone"](view))) for view in views[:2]]
        scores = [self.own.prototypes(self.own.projector(self.own.backbone(view))) for view in views]
        return self.criterion(targets, scores, epoch=self.current_epoch)

    def configure_optimizers(self):
        return torch.optim.AdamW((p for p in self.parameters() if p.requires_grad), 1e-4)


def build(name, options, **more):
    torch.manual_seed(0)
    common = {
        "backbone": options.backbone,
        "image_size": options.size,
        "optimizer": OptimizerConfig("adamw", base_lr=1e-4, warmup_epochs=0),
        "compile": options.compile,
        **more,
    }
    if name == "dino":
        return DINO(projector_widths=(512, 512, 128), prototypes=4096, teacher_warmup_epochs=0, **common)
    return {"vicreg": VICReg, "barlow_twins": BarlowTwins}[name](projector_widths=(1024, 1024, 1024), **common)


def our_data(name, root, options):
    views = [RandomViews(options.size, blur=0.5, solarize=0.1, **STRONG)]
    if name == "dino":
        views = [
            RandomViews(options.size, num_views=1, scale=(0.4, 1.0), blur=1.0, **STRONG),
            RandomViews(options.size, num_views=1, scale=(0.4, 1.0), blur=0.1, solarize=0.2, **STRONG),
            RandomViews(options.size * 96 // 224, num_views=6, scale=(0.05, 0.4), blur=0.5, **STRONG),
        ]
    return ImageDataModule(
        ImageFolder(str(root)),
        corner="top_left",
        image_size=options.size,
        storage_size=options.size * 8 // 7,
        per_class=options.pictures // 10 // 2 - 5,
        batch_size=options.batch,
        views=views,
        num_workers=options.workers,
        pin_memory=torch.cuda.is_available(),
    )


def their_data(name, root, options):
    transform = (
        DINOTransform(global_crop_size=options.size, local_crop_size=options.size * 96 // 224, n_local_views=6)
        if name == "dino"
        else VICRegTransform(input_size=options.size)
    )
    return DataLoader(
        Folder(str(root), transform),
        options.batch,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


PARTS = {  # Lightning's names of what it times end in these
    "waiting for the loader": "train_dataloader_next",
    "views": "on_after_batch_transfer",
    "forward": ".training_step",
    "backward": ".backward",
}


def spent(profiler, warmup):
    """Seconds a step by part, the first steps left out."""
    found = {}
    for part, ending in PARTS.items():
        times = [seconds for name, seconds in profiler.recorded_durations.items() if name.endswith(ending)]
        found[part] = sum(statistics.median(seconds[warmup:]) for seconds in times if len(seconds) > warmup)
    return ", ".join(f"{part} {seconds:.3f} s" for part, seconds in found.items())


def rate(module, options, profiler=None, **data):
    clock = Clock(options.warmup, options.warmup + options.steps)
    trainer = Trainer(
        default_root_dir=options.scratch,
        max_steps=clock.steps,
        max_epochs=1000,
        precision=options.precision,
        callbacks=[clock],
        profiler=profiler,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with contextlib.redirect_stderr(io.StringIO()):
        trainer.fit(module, **data)
    return clock.per_second(options.batch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["vicreg", "barlow_twins", "dino"])
    parser.add_argument("--backbone", default="small_resnet")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--picture", type=int, default=256, help="width of the JPEG files")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--warmup", type=int, default=4)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--profile", action="store_true", help="what a step spends, of one more run of either side")
    parser.add_argument("--compile", action="store_true", help="our side only: an option of the method")
    options = parser.parse_args()
    if options.profile and torch.cuda.is_available():
        parser.error("--profile times the CPU, which does not wait for a GPU; benchmarks/gpu.py profiles steps there")
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    print(f"{where}, torch {torch.__version__}, {options.backbone}, {options.size} px, batch {options.batch}")
    with tempfile.TemporaryDirectory() as scratch:
        options.scratch, root = Path(scratch) / "runs", Path(scratch) / "pictures"
        write_pictures(root, options.pictures, options.picture)
        for name in options.methods:
            ours, theirs = [], []
            for _ in range(options.turns):
                ours.append(rate(build(name, options), options, datamodule=our_data(name, root, options)))
                plain = Plain(name, build(name, options, channels_last=False))
                theirs.append(rate(plain, options, train_dataloaders=their_data(name, root, options)))
            mine, other = statistics.median(ours), statistics.median(theirs)
            print(f"{name:14} ours {mine:8.1f}/s   lightly {other:8.1f}/s   ratio {mine / other:.2f}", flush=True)
            if options.profile:
                one, two = SimpleProfiler(), SimpleProfiler()
                rate(build(name, options), options, one, datamodule=our_data(name, root, options))
                plain = Plain(name, build(name, options, channels_last=False))
                rate(plain, options, two, train_dataloaders=their_data(name, root, options))
                for side, profiler in (("ours", one), ("lightly", two)):
                    print(f"    {side:8} a step: {spent(profiler, options.warmup)}", flush=True)


if __name__ == "__main__":
    main()
