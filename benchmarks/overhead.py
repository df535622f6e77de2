"""What do the monitors cost? Training time with them over training time without.

python benchmarks/overhead.py              # the proportions and the cadence of configs/data/imagenet.yaml
python benchmarks/overhead.py --quickstart # those of the quickstart, whose public set is 8 times its training set

One run with both monitors; the time inside each one's hooks is taken out of the whole to give the time without it.
Two ratios: of this whole run, start and end included, and of a long run, where only the measurements on schedule count.
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
from lightning.pytorch import Callback, Trainer

from dejavu_lightning.data import ImageDataModule, RandomViews, Scenes
from dejavu_lightning.memorization import LabelInference
from dejavu_lightning.methods import OptimizerConfig, VICReg

PLAIN = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
HOOKS = [name for name in dir(Callback) if name.startswith("on_") or name in ("setup", "teardown")]


def timed(callback):
    """Add up the seconds that the callback's hooks take."""
    callback.spent, callback.measurements = 0.0, []

    def wrap(name, hook):
        def run(*arguments, **more):
            start, before = time.perf_counter(), len(callback.history)
            try:
                return hook(*arguments, **more)
            finally:
                seconds = time.perf_counter() - start
                callback.spent += seconds
                if name == "on_train_epoch_end" and len(callback.history) > before:
                    callback.measurements.append(seconds)

        return run

    for name in HOOKS:
        setattr(callback, name, wrap(name, getattr(callback, name)))
    return callback


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quickstart", action="store_true")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if options.quickstart:
        scenes, per_class, every, epochs = 3500, 25, 40, 400
    else:
        scenes, per_class, every, epochs = 4500, 100, 50, 200
    torch.manual_seed(0)
    data = ImageDataModule(
        Scenes(scenes),
        per_class=per_class,
        validation_per_class=50,
        min_crop_side=6,
        batch_size=125,
        views=RandomViews(32, scale=(0.1, 1.0), **PLAIN),
        **PLAIN,
    )
    model = VICReg(
        backbone="small_resnet",
        projector_widths=(256, 256, 256),
        image_size=32,
        optimizer=OptimizerConfig("adamw", base_lr=0.016384, weight_decay=1e-4, warmup_epochs=10),
    )
    monitors = {
        "memorization": timed(MemorizationMonitor(test=LabelInference(k=20), every_n_epochs=every)),
        "utility": timed(UtilityMonitor(every_n_epochs=every)),
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        trainer = Trainer(
            default_root_dir=folder,
            max_epochs=epochs,
            callbacks=list(monitors.values()),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        start = time.perf_counter()
        trainer.fit(model, datamodule=data)
        whole = time.perf_counter() - start
    sizes = {split: len(ids) for split, ids in data.manifest.members.items() if ids}
    print(f"{sizes}, a measurement every {every} of {epochs} epochs")
    plain = whole - sum(monitor.spent for monitor in monitors.values())
    print(f"training alone {plain:.1f} s")
    for name, monitor in monitors.items():
        count = len(monitor.history)
        usual = statistics.median(monitor.measurements)
        print(
            f"{name:14} {monitor.spent:6.2f} s in {count} measurements of {usual:.2f} s   "
            f"whole run {1 + monitor.spent / plain:.3f}   long run {1 + usual / (plain / epochs * every):.3f}"
        )


if __name__ == "__main__":
    main()
