"""What do the monitors cost? Training time with them over training time without, side by side in one run.

python benchmarks/overhead.py

The quickstart's model, data and cadence (a measurement every 40 of 400 epochs, 11 in all). The variants take turns; of
each the median is taken.
"""

import argparse
import contextlib
import io
import logging
import statistics
import tempfile
import time
import warnings

import torch
from dejavu_lightning.callbacks import MemorizationMonitor, UtilityMonitor
from lightning.pytorch import Trainer

from dejavu_lightning.data import PictureData, RandomViews, Scenes
from dejavu_lightning.memorization import LabelInference
from dejavu_lightning.methods import OptimizerConfig, VICReg

PLAIN = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
JITTER = {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.05, "jitter": 1.0}


def seconds(epochs, make_callbacks):
    """Wall time of one training, data set and start-up left out."""
    torch.manual_seed(0)
    data = PictureData(
        Scenes(3500),
        per_class=25,
        held_out_per_class=100,
        min_crop_side=6,
        batch_size=125,
        views=RandomViews(32, scale=(0.1, 1.0), flip=0.0, grayscale=0.0, **JITTER, **PLAIN),
        **PLAIN,
    )
    model = VICReg(
        backbone="small_resnet",
        projector_widths=(256, 256, 256),
        image_size=32,
        optimizer=OptimizerConfig("adamw", base_lr=0.016384, weight_decay=1e-4, warmup_epochs=20),
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        trainer = Trainer(
            default_root_dir=folder,
            max_epochs=epochs,
            accelerator="cpu",
            callbacks=make_callbacks(),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        start = time.perf_counter()
        trainer.fit(model, datamodule=data)
        return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--every", type=int, default=40)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    variants = {
        "no monitor": list,
        "memorization": lambda: [MemorizationMonitor(LabelInference(k=20), every_n_epochs=options.every)],
        "utility": lambda: [UtilityMonitor(every_n_epochs=options.every)],
    }
    found = {name: [] for name in variants}
    for _ in range(options.turns):
        for name, make_callbacks in variants.items():
            found[name].append(seconds(options.epochs, make_callbacks))
    plain = statistics.median(found["no monitor"])
    for name, times in found.items():
        middle = statistics.median(times)
        print(f"{name:14} {middle:7.1f} s   ratio {middle / plain:.3f}   ({', '.join(f'{t:.1f}' for t in times)})")


if __name__ == "__main__":
    main()
