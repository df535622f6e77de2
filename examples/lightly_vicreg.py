"""lightly's pattern: a LightningModule of your own under ``pytorch_lightning``, with the callback beside it.

python examples/lightly_vicreg.py
"""

import pytorch_lightning as pl
import torch
import torchvision
from dejavu_lightning.callbacks import MemorizationMonitor  # dejavu
from lightly.data import LightlyDataset
from lightly.loss import VICRegLoss
from lightly.models.modules.heads import VICRegProjectionHead
from lightly.transforms.vicreg_transform import VICRegTransform
from pictures_on_disk import class_folders
from torch import nn
from torchvision import transforms

from dejavu_lightning.hosts import MemorizationData  # dejavu, the split


class VICReg(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(*list(torchvision.models.resnet18().children())[:-1])  # gives (B, 512, 1, 1)
        self.projection_head = VICRegProjectionHead(input_dim=512, hidden_dim=128, output_dim=128, num_layers=2)
        self.criterion = VICRegLoss()

    def forward(self, image):
        return self.projection_head(self.backbone(image).flatten(start_dim=1))

    def training_step(self, batch, batch_index):
        loss = self.criterion(*(self(view) for view in batch[0]))
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


pl.seed_everything(0)
root, boxes = class_folders()
dataset = LightlyDataset(root, transform=VICRegTransform(input_size=32))
evaluation = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
callbacks = []
data = MemorizationData.from_folder(root, boxes=boxes)  # dejavu, the split
dataset = data.train_subset(dataset)  # dejavu, the split
callbacks.append(MemorizationMonitor(data, transform=evaluation, every_n_epochs=1))  # dejavu
loader = torch.utils.data.DataLoader(dataset, batch_size=30, shuffle=True, drop_last=True)
trainer = pl.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=callbacks)
trainer.fit(VICReg(), loader)
print(f"final loss {trainer.callback_metrics['loss'].item():.6f}")
