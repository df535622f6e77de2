"""A module in the style of solo-learn, whose batches are (indices, crops, labels), with the callback beside it.

python examples/solo_learn_style.py
"""

import lightning.pytorch as pl
import torch
from dejavu_lightning.callbacks import MemorizationMonitor  # dejavu
from pictures_on_disk import class_folders
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from dejavu_lightning.hosts import MemorizationData  # dejavu, the split


class IndexedFolder(ImageFolder):
    def __getitem__(self, index):
        return (index, *super().__getitem__(index))


class TwoCrops:
    def __init__(self):
        self.crop = transforms.Compose([transforms.RandomResizedCrop(32), transforms.ToTensor()])

    def __call__(self, picture):
        return [self.crop(picture), self.crop(picture)]


class SimSiam(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()
        )
        self.projector = nn.Sequential(nn.Linear(144, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64))
        self.predictor = nn.Linear(64, 64)
        self.classifier = nn.Linear(144, 10)

    def forward(self, image):
        features = self.backbone(image)
        return {"logits": self.classifier(features.detach()), "feats": features, "z": self.projector(features)}

    def training_step(self, batch, batch_index):
        _, crops, labels = batch
        outputs = [self(crop) for crop in crops]
        z = [output["z"] for output in outputs]
        pairs = ((z[0], z[1]), (z[1], z[0]))
        similar = sum(nn.functional.cosine_similarity(self.predictor(p), q.detach()).mean() for p, q in pairs)
        loss = nn.functional.cross_entropy(outputs[0]["logits"], labels) - similar
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


pl.seed_everything(0)
root, boxes = class_folders()
dataset = IndexedFolder(root, transform=TwoCrops())
evaluation = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
callbacks = []
data = MemorizationData.from_folder(root, boxes=boxes)  # dejavu, the split
dataset = data.train_subset(dataset)  # dejavu, the split
callbacks.append(MemorizationMonitor(data, encode="backbone", transform=evaluation, every_n_epochs=1))  # dejavu
loader = DataLoader(dataset, batch_size=30, shuffle=True)
trainer = pl.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=callbacks)
trainer.fit(SimSiam(), loader)
print(f"final loss {trainer.callback_metrics['loss'].item():.6f}")
