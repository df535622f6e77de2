"""An open_clip training loop, measured after every epoch: captions against the images of the other half.

python examples/open_clip_loop.py
"""

import csv
from pathlib import Path

import open_clip
import torch
from pictures_on_disk import caption_table
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from dejavu_lightning.hosts import MemorizationData  # dejavu, the split
from dejavu_lightning.memorization import HeldOut, ObjectRetrieval, measure  # dejavu


class CsvDataset(Dataset):
    def __init__(self, table, transform):
        with Path(table).open(newline="") as file:
            self.rows = list(csv.DictReader(file))
        self.folder, self.transform = Path(table).parent, transform

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        return self.transform(Image.open(self.folder / row["image"])), row["caption"]


torch.manual_seed(0)
vision = {"image_size": 48, "layers": 1, "width": 64, "head_width": 32, "patch_size": 12}
text = {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
model = open_clip.CLIP(embed_dim=64, vision_cfg=vision, text_cfg=text)
preprocess = open_clip.image_transform(48, is_train=False)
tokenizer = open_clip.get_tokenizer("ViT-B-32", context_length=12)
loss_function = open_clip.ClipLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
table = caption_table()
dataset = CsvDataset(table, preprocess)
data = MemorizationData.from_captions(table, objects_column="objects", transform=preprocess)  # dejavu, the split
dataset = data.train_subset(dataset, ids=[row["image"][:-4] for row in dataset.rows])  # dejavu, the split
test = ObjectRetrieval(ks=[10], text=lambda model, captions: model.encode_text(tokenizer(captions)))  # dejavu
loader = DataLoader(dataset, batch_size=45, shuffle=True)

for epoch in range(2):
    model.train()
    for image, caption in loader:
        features = model(image, tokenizer(caption))
        loss = loss_function(*features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, measure(model, test, HeldOut(), data.memorization_sets()).metrics)  # dejavu
print(f"final loss {loss.item():.6f}")
