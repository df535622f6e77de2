"""A training loop in plain PyTorch, measured after every epoch.

python examples/plain_pytorch.py
"""

import torch
from pictures_on_disk import class_folders
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from dejavu_lightning.hosts import MemorizationData  # dejavu, the split
from dejavu_lightning.memorization import HeldOut, LabelInference, measure  # dejavu

torch.manual_seed(0)
backbone = nn.Sequential(
    nn.Conv2d(3, 16, 3, 2),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, 2),
    nn.AdaptiveAvgPool2d(3),
    nn.Flatten(),
)
classifier = nn.Linear(288, 10)
optimizer = torch.optim.AdamW([*backbone.parameters(), *classifier.parameters()], lr=3e-3)
root, boxes = class_folders()
evaluation = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
dataset = ImageFolder(root, evaluation)
data = MemorizationData.from_folder(root, boxes=boxes, transform=evaluation)  # dejavu, the split
dataset = data.train_subset(dataset)  # dejavu, the split
loader = DataLoader(dataset, batch_size=30, shuffle=True)

for epoch in range(3):
    backbone.train()
    for image, label in loader:
        loss = nn.functional.cross_entropy(classifier(backbone(image)), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, measure(backbone, LabelInference(), HeldOut(), data.memorization_sets()).metrics)  # dejavu
print(f"final loss {loss.item():.6f}")
