"""An open_clip training loop, measured after every epoch: captions against the images of the other half.

python examples/open_clip_loop.py
"""

import open_clip
import torch
from host_captions import attacked, captioned, other_split, public
from torch.utils.data import DataLoader

from dejavu_lightning.memorization import HeldOut, MemorizationSets, ObjectRetrieval, measure  # dejavu

torch.manual_seed(0)
vision = {"image_size": 48, "layers": 1, "width": 64, "head_width": 32, "patch_size": 12}
text = {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
model = open_clip.CLIP(embed_dim=64, vision_cfg=vision, text_cfg=text)
tokenizer = open_clip.get_tokenizer("ViT-B-32", context_length=12)
loss_function = open_clip.ClipLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
loader = DataLoader(captioned, batch_size=50, shuffle=True)
sets = MemorizationSets(attack=attacked, public=public, num_classes=24, other_split=other_split)  # dejavu
test = ObjectRetrieval(ks=[10], text=lambda model, captions: model.encode_text(tokenizer(captions)))  # dejavu

for epoch in range(2):
    model.train()
    for image, caption in loader:
        features = model(image, tokenizer(caption))
        loss = loss_function(*features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = measure(model, test, HeldOut(), sets)  # dejavu
    print(f"epoch {epoch + 1} {found.headline} {found.metrics[found.headline]:+.3f}")  # dejavu
print(f"final loss {loss.item():.6f}")
