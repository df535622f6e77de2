"""Stands for data of your own: two training halves, public pictures, and what the attacker sees of the halves."""

import torch
from torch.utils.data import TensorDataset

from dejavu_lightning.data import Scenes

scenes = Scenes(900)
images = torch.stack([scenes.image(index) for index in range(900)]).float() / 255
# The attacker sees a corner of each picture, enlarged.
corners = torch.nn.functional.interpolate(images[:, :, :16, :16], size=48, mode="bilinear")
half_a, half_b, public = (TensorDataset(images[i : i + 300], scenes.labels[i : i + 300]) for i in (0, 300, 600))
corners_a, corners_b = (TensorDataset(corners[i : i + 300], scenes.labels[i : i + 300]) for i in (0, 300))
