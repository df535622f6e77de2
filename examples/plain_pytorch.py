"""A training loop in plain PyTorch, measured after every epoch.

python examples/plain_pytorch.py
"""

import torch
from host_data import corners_a, corners_b, half_a, public
from torch import nn
from torch.utils.data import DataLoader

from dejavu_lightning.memorization import HeldOut, LabelInference, MemorizationSets, measure  # dejavu

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
loader = DataLoader(half_a, batch_size=50, shuffle=True)
sets = MemorizationSets(attack=corners_a, public=public, num_classes=10, other_split=corners_b)  # dejavu

for epoch in range(3):
    backbone.train()
    for image, label in loader:
        loss = nn.functional.cross_entropy(classifier(backbone(image)), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = measure(backbone, LabelInference(k=20), HeldOut(), sets)  # dejavu
    print(f"epoch {epoch + 1} score {found.metrics['score']:+.3f}")  # dejavu
print(f"final loss {loss.item():.6f}")
