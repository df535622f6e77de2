"""DINO's main_dino.py: many crops of an image folder by its path, a teacher, checkpoints that hold both networks.

Nothing is added.

python dino_train.py --data_path SPLITS/A --output_dir OUT
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torchvision import models, transforms
from torchvision.datasets import ImageFolder


class MultiCrop:
    def __init__(self):
        crop = transforms.RandomResizedCrop
        self.large = transforms.Compose([crop(32, (0.4, 1.0)), transforms.ToTensor()])
        self.small = transforms.Compose([crop(24, (0.1, 0.4)), transforms.ToTensor()])

    def __call__(self, picture):
        return [self.large(picture), self.large(picture), self.small(picture)]


class MultiCropWrapper(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = models.resnet18()
        self.backbone.fc = nn.Identity()
        self.head = nn.Linear(512, 64)

    def forward(self, crops):
        return torch.cat([self.head(self.backbone(crop)) for crop in crops])


class Parallel(nn.Module):
    """Stands for DistributedDataParallel, which puts ``module.`` before the student's names."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, crops):
        return self.module(crops)


parser = argparse.ArgumentParser()
parser.add_argument("--data_path")
parser.add_argument("--output_dir")
parser.add_argument("--epochs", type=int, default=2)
args = parser.parse_args()

torch.manual_seed(0)
dataset = ImageFolder(args.data_path, transform=MultiCrop())
loader = torch.utils.data.DataLoader(dataset, batch_size=6, shuffle=True, drop_last=True)
student, teacher = Parallel(MultiCropWrapper()), MultiCropWrapper()
teacher.load_state_dict(student.module.state_dict())
optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
for epoch in range(args.epochs):
    for crops, _ in loader:
        with torch.no_grad():
            wanted = teacher(crops[:2]).div(0.04).softmax(1)
        given = student(crops).div(0.1).log_softmax(1)
        loss = -(wanted.repeat(2, 1)[: len(given)] * given).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), student.parameters(), strict=True):
                slow.mul_(0.5).add_(fast, alpha=0.5)
    saved = {"student": student.state_dict(), "teacher": teacher.state_dict(), "epoch": epoch + 1, "args": args}
    Path(args.output_dir).mkdir(exist_ok=True)
    torch.save(saved, Path(args.output_dir) / f"checkpoint{epoch:04}.pth")
print(f"{len(dataset)} pictures")
