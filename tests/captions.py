"""Captioned pictures and CLIP models small enough to train in seconds."""

from __future__ import annotations

import json

import torch
import yaml

from dejavu_lightning.data import CaptionDataModule, ObjectScenes, RandomViews
from dejavu_lightning.methods import CLIP, ClipOptimizerConfig
from tests.models import PLAIN

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}

PICTURES = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
VIEWS = {"image_size": 32, "num_views": 1, "jitter": 0.0, "grayscale": 0.0, **PICTURES}


class Embeddings:
    """An encoder whose embeddings are given: images are their own, captions are looked up."""

    def __init__(self, captions):
        self.captions = captions

    def encode_image(self, images):
        return images

    def encode_text(self, captions):
        return torch.stack([self.captions[caption] for caption in captions])


class Captioned(torch.utils.data.Dataset):
    """Samples as mappings; images are embeddings already."""

    def __init__(self, objects, images=None, captions=None, named=None, prefix="r"):
        self.objects, self.images, self.named = objects, images, named
        self.captions = captions or [f"{prefix}{row}" for row in range(len(objects))]
        self.ids = [f"{prefix}{row:05d}" for row in range(len(objects))]

    def __len__(self):
        return len(self.objects)

    def __getitem__(self, row):
        sample = {"id": self.ids[row], "caption": self.captions[row], "objects": self.objects[row]}
        if self.images is not None:
            sample["image"] = self.images[row]
        return sample if self.named is None else {**sample, "named": self.named[row]}


def caption_data(train_on="A", batch_size=10, **options):
    settings = {"per_split": 20, "held_out": 20, "image_size": 32, **PLAIN, **options}
    if not {"augmentation", "views"} & settings.keys():
        settings["views"] = RandomViews(32, num_views=1, flip=0.0, jitter=0.0, grayscale=0.0, **PLAIN)
    return CaptionDataModule(ObjectScenes(120, image_size=32), train_on=train_on, batch_size=batch_size, **settings)


def tiny_clip(path, seed=0, **options):
    """``path``: where the JSON config is or goes."""
    path.write_text(json.dumps(TINY_CLIP))
    torch.manual_seed(seed)
    optimizer = ClipOptimizerConfig(lr=0.01, warmup_steps=0)
    return CLIP(str(path), **{"optimizer": optimizer, **options})


def write_clip_config(tmp_path):
    """A tiny run's config beside its model's; its path."""
    (tmp_path / "tiny-clip.json").write_text(json.dumps(TINY_CLIP))
    config = {
        "seed_everything": 0,
        "trainer": {"accelerator": "cpu", "max_epochs": 2, "enable_progress_bar": False},
        "model": {
            "class_path": "dejavu_lightning.methods.CLIP",
            "init_args": {"model": str(tmp_path / "tiny-clip.json"), "optimizer": {"lr": 0.01, "warmup_steps": 0}},
        },
        "data": {
            "class_path": "dejavu_lightning.data.CaptionDataModule",
            "init_args": {
                "source": {
                    "class_path": "dejavu_lightning.data.ObjectScenes",
                    "init_args": {"num_images": 160, "image_size": 32},
                },
                "image_size": 32,
                "per_split": 21,
                "held_out": 20,
                "batch_size": 10,
                "views": {"class_path": "dejavu_lightning.data.RandomViews", "init_args": VIEWS},
                **PICTURES,
            },
        },
        "memorization": {
            "test": {
                "class_path": "dejavu_lightning.memorization.ObjectRetrieval",
                "init_args": {"k": 5, "ks": [1, 5], "top_n": [1]},
            },
            "every_n_epochs": 1,
        },
    }
    path = tmp_path / "clip.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
