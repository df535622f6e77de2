"""A module in the style of solo-learn, whose batches are (indices, crops, labels), with the callback beside it.

python examples/solo_learn_style.py
"""

import lightning.pytorch as pl
import torch
from dejavu_lightning.callbacks import MemorizationMonitor  # dejavu
from host_data import corners_a, corners_b, half_a, public
from torch import nn
from torch.utils.data import DataLoader

from dejavu_lightning.memorization import LabelInference, MemorizationSets  # dejavu


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
data = [(index, (image, image.flip(-1)), label) for index, (image, label) in enumerate(half_a)]
loader = DataLoader(data, batch_size=50, shuffle=True)
callbacks = []
sets = MemorizationSets(attack=corners_a, public=public, num_classes=10, other_split=corners_b)  # dejavu
callbacks.append(
    MemorizationMonitor(test=LabelInference(k=20), encode="backbone", data=sets, every_n_epochs=1)
)  # dejavu
trainer = pl.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=callbacks)
trainer.fit(SimSiam(), loader)
print(f"final loss {trainer.callback_metrics['loss'].item():.6f}")
print("scores", [round(row["score"], 3) for row in callbacks[0].history])  # dejavu
