"""A Hugging Face Trainer, measured by a callback after every epoch.

python examples/hugging_face_trainer.py
"""

import tempfile

from host_data import corners_a, corners_b, half_a, public
from hugging_face_callback import MeasureMemorization  # dejavu
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments, set_seed

from dejavu_lightning.memorization import MemorizationSets  # dejavu

set_seed(0)
config = ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=10)
model = ResNetForImageClassification(config)
with tempfile.TemporaryDirectory() as folder:
    options = {"num_train_epochs": 2, "per_device_train_batch_size": 50, "learning_rate": 3e-3, "use_cpu": True}
    arguments = TrainingArguments(folder, report_to=[], save_strategy="no", disable_tqdm=True, **options)
    data = [{"pixel_values": image, "labels": label} for image, label in half_a]
    trainer = Trainer(model, arguments, train_dataset=data)
    sets = MemorizationSets(attack=corners_a, public=public, num_classes=10, other_split=corners_b)  # dejavu
    trainer.add_callback(MeasureMemorization(sets, lambda model, image: model.resnet(image)[1].flatten(1)))  # dejavu
    print(f"final loss {trainer.train().training_loss:.6f}")
print("scores", [round(row["memorization/score"], 3) for row in trainer.state.log_history[:-1]])  # dejavu
