"""lightly's pattern: a LightningModule of your own under ``pytorch_lightning``, with the callback beside it.

python examples/lightly_vicreg.py
"""

import pytorch_lightning as pl
import torch
from dejavu_lightning.callbacks import MemorizationMonitor  # dejavu
from host_data import corners_a, corners_b, half_a, public
from lightly.loss import VICRegLoss
from lightly.models.modules.heads import VICRegProjectionHead
from lightly.transforms.vicreg_transform import VICRegTransform
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms.functional import to_pil_image

from dejavu_lightning.memorization import LabelInference, MemorizationSets  # dejavu


class VICReg(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()
        )
        self.projection_head = VICRegProjectionHead(input_dim=144, hidden_dim=128, output_dim=128, num_layers=2)
        self.criterion = VICRegLoss()

    def forward(self, image):
        return self.projection_head(self.backbone(image))

    def training_step(self, batch, batch_index):
        loss = self.criterion(*(self(view) for view in batch))
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


pl.seed_everything(0)
transform = VICRegTransform(input_size=48)
views = [transform(to_pil_image(image)) for image, _ in half_a]
loader = DataLoader(views, batch_size=50, shuffle=True, drop_last=True)
sets = MemorizationSets(attack=corners_a, public=public, num_classes=10, other_split=corners_b)  # dejavu
callbacks = []
callbacks.append(
    MemorizationMonitor(test=LabelInference(k=20), encode="backbone", data=sets, every_n_epochs=1)
)  # dejavu
trainer = pl.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=callbacks)
trainer.fit(VICReg(), loader)
print(f"final loss {trainer.callback_metrics['loss'].item():.6f}")
print("scores", [round(row["score"], 3) for row in callbacks[0].history])  # dejavu
