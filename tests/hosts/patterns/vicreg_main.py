"""VICReg's main_vicreg.py: two views of an image folder by its path, one file that each epoch replaces, the backbone.

Nothing is added.

python vicreg_main.py --data-dir SPLITS --exp-dir OUT
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torchvision import models, transforms
from torchvision.datasets import ImageFolder


class TwoViews:
    def __init__(self):
        self.view = transforms.Compose([transforms.RandomResizedCrop(32, (0.4, 1.0)), transforms.ToTensor()])

    def __call__(self, picture):
        return self.view(picture), self.view(picture)


class Model(nn.Module):
    """Gives its loss, as theirs does."""

    def __init__(self):
        super().__init__()
        self.backbone = models.resnet18()
        self.backbone.fc = nn.Identity()
        self.projector = nn.Linear(512, 64)

    def forward(self, x, y):
        x, y = self.projector(self.backbone(x)), self.projector(self.backbone(y))
        spread = sum(torch.relu(1 - torch.sqrt(each.var(dim=0) + 1e-4)).mean() / 2 for each in (x, y))
        return 25 * nn.functional.mse_loss(x, y) + 25 * spread


class Parallel(nn.Module):
    """Stands for DistributedDataParallel, which puts ``module.`` before the names."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x, y):
        return self.module(x, y)


parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", type=Path)
parser.add_argument("--exp-dir", type=Path)
parser.add_argument("--epochs", type=int, default=2)
args = parser.parse_args()

torch.manual_seed(0)
dataset = ImageFolder(args.data_dir / "A", transform=TwoViews())
loader = torch.utils.data.DataLoader(dataset, batch_size=6, shuffle=True, drop_last=True)
model = Parallel(Model())
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
args.exp_dir.mkdir(exist_ok=True)
for epoch in range(args.epochs):
    for (x, y), _ in loader:
        optimizer.zero_grad()
        model(x, y).backward()
        optimizer.step()
    state = {"epoch": epoch + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, args.exp_dir / "model.pth")
torch.save(model.module.backbone.state_dict(), args.exp_dir / "resnet50.pth")
print(f"{len(dataset)} pictures")
