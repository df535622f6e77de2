"""timm's train.py: arguments, an image folder by its path, averaged weights, checkpoints of its own. Nothing is added.

python timm_train.py --data-dir SPLITS --train-split A --output OUT
"""

import argparse

import timm
import torch
from timm.data import create_dataset, create_loader
from timm.utils import CheckpointSaver, ModelEmaV3, get_outdir

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir")
parser.add_argument("--train-split", default="train")
parser.add_argument("--output")
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--model", default="resnet10t")
args = parser.parse_args()

torch.manual_seed(0)
dataset = create_dataset("", root=args.data_dir, split=args.train_split, is_training=True)
model = timm.create_model(args.model, num_classes=len(dataset.reader.class_to_idx))
loader = create_loader(dataset, (3, 32, 32), 6, is_training=True, num_workers=0, device="cpu", use_prefetcher=False)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
ema = ModelEmaV3(model, decay=0.5)
output = get_outdir(args.output)
saver = CheckpointSaver(model, optimizer, args, model_ema=ema, checkpoint_dir=output, recovery_dir=output)
for epoch in range(args.epochs):
    model.train()
    for images, labels in loader:
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(model)
    saver.save_checkpoint(epoch, metric=loss.item())
print(f"{len(dataset)} pictures")
