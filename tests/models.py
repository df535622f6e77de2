"""Small models and data that train in seconds, and a host module that knows nothing of this package."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from torch import nn

from dejavu_lightning.data import ImageDataModule, RandomViews, Scenes
from dejavu_lightning.methods import OptimizerConfig, VICReg

PLAIN = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


def tiny_data(train_on="A", batch_size=20, **options):
    settings = {"per_class": 4, "held_out_per_class": 3, "min_crop_side": 6, "image_size": 32, **PLAIN, **options}
    views = RandomViews(32, flip=0.0, jitter=0.0, grayscale=0.0, **PLAIN)
    return ImageDataModule(Scenes(300), train_on=train_on, batch_size=batch_size, views=views, **settings)


TINY_NETWORK = {
    "backbone": "small_resnet",
    "backbone_options": {"widths": (8, 8)},
    "projector_widths": (16, 16),
    "image_size": 32,
    "optimizer": OptimizerConfig("adamw", base_lr=0.05, warmup_epochs=0),
}


def tiny_vicreg(seed=0, **options):
    torch.manual_seed(seed)
    return VICReg(**{**TINY_NETWORK, **options})


def tiny_trainer(folder, trainer=pl.Trainer, **options):
    settings = {
        "default_root_dir": folder,
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return trainer(**{**settings, **options})


def save_after(file, epochs, batches=0):
    """A checkpoint as Lightning writes it after so many epochs, and batches of the next one."""
    current = {"ready": epochs + bool(batches), "processed": epochs}
    progress = {"is_last_batch": not batches, "current": {"ready": batches or 4, "processed": batches or 4}}
    loops = {"fit_loop": {"epoch_progress": {"current": current}, "epoch_loop.batch_progress": progress}}
    torch.save({"state_dict": {"w": torch.ones(1)}, "epoch": epochs - (not batches), "loops": loops}, file)
    return file


class HostModule(pl.LightningModule):
    """Somebody's classifier: batch norm, dropout, random augmentation, no encode method."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(32, 10))

    def training_step(self, batch, batch_idx):
        image, label = batch
        image = image + 0.1 * torch.randn_like(image)
        return nn.functional.cross_entropy(self.head(self.backbone(image)), label)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


class Pairs(torch.utils.data.Dataset):
    """(image, label) tuples, as torchvision datasets give them."""

    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(count) % 10
        self.images = torch.rand(count, 3, 16, 16, generator=generator)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index], int(self.labels[index])
