"""A module in the style of stable-pretraining: batches are mappings, and the forward is a function.

python examples/stable_pretraining_style.py
"""

import lightning.pytorch as pl
import timm
import torch
from dejavu_lightning.callbacks import MemorizationMonitor  # dejavu
from pictures_on_disk import class_folders
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from dejavu_lightning.hosts import MemorizationData  # dejavu, the split


class FromTorchDataset(Dataset):
    """Samples by name, around a data set of torchvision."""

    def __init__(self, dataset, names, transform):
        self.dataset, self.names, self.transform = dataset, names, transform

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.transform(dict(zip(self.names, self.dataset[index], strict=True)) | {"sample_idx": index})


class Module(pl.LightningModule):
    """Takes its parts and its forward as arguments."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.step = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def training_step(self, batch, batch_index):
        loss = self.step(self, batch, "fit")["loss"]
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def forward(self, batch, stage):
    embedding = [self.backbone(view) for view in batch["views"]]
    if stage != "fit":
        return {"embedding": embedding[0]}
    first, second = (self.projector(one) for one in embedding)
    return {"embedding": embedding[0], "loss": 1 - nn.functional.cosine_similarity(first, second.detach()).mean()}


def two_views(sample):
    crop = transforms.Compose([transforms.RandomResizedCrop(32), transforms.ToTensor()])
    return {"views": [crop(sample["image"]), crop(sample["image"])], "label": sample["label"]}


pl.seed_everything(0)
root, boxes = class_folders()
dataset = FromTorchDataset(ImageFolder(root), names=["image", "label"], transform=two_views)
evaluation = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
callbacks = []
data = MemorizationData.from_folder(root, boxes=boxes)  # dejavu, the split
dataset = data.train_subset(dataset)  # dejavu, the split
callbacks.append(MemorizationMonitor(data, transform=evaluation, every_n_epochs=1))  # dejavu
backbone = timm.create_model("resnet10t", num_classes=0)
module = Module(forward=forward, backbone=backbone, projector=nn.Linear(512, 64))
trainer = pl.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=callbacks)
trainer.fit(module, DataLoader(dataset, batch_size=30, shuffle=True, drop_last=True))
print(f"final loss {trainer.callback_metrics['loss'].item():.6f}")
