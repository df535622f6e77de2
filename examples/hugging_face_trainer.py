"""A Hugging Face Trainer, measured by a callback after every epoch.

python examples/hugging_face_trainer.py
"""

import torch
from pictures_on_disk import class_folders
from torchvision import transforms
from torchvision.datasets import ImageFolder
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments, set_seed

from dejavu_lightning.hosts import MemorizationData  # dejavu, the split
from dejavu_lightning.hosts.transformers_callback import MemorizationCallback  # dejavu


def collate(samples):
    pictures, labels = zip(*samples, strict=True)
    return {"pixel_values": torch.stack(pictures), "labels": torch.tensor(labels)}


set_seed(0)
config = ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=10)
model = ResNetForImageClassification(config)
root, boxes = class_folders()
evaluation = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
dataset = ImageFolder(root, evaluation)
data = MemorizationData.from_folder(root, boxes=boxes, transform=evaluation)  # dejavu, the split
dataset = data.train_subset(dataset)  # dejavu, the split
options = {"num_train_epochs": 2, "per_device_train_batch_size": 30, "learning_rate": 3e-3, "use_cpu": True}
arguments = TrainingArguments("run", report_to=[], save_strategy="no", disable_tqdm=True, **options)
trainer = Trainer(model, arguments, data_collator=collate, train_dataset=dataset)
trainer.add_callback(MemorizationCallback(trainer, data, lambda model, image: model.resnet(image)[1]))  # dejavu
print(f"final loss {trainer.train().training_loss:.6f}")
