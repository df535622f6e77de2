"""What training holds of a weight and a picture, and measuring of a public sample, counted on a CPU.

    python benchmarks/counts.py

The numbers are constants of benchmarks/scaling.py; docs/guides/scaling.md says how they are counted. Nothing is timed.
"""

import tracemalloc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dejavu_lightning.core.distributed import joined_words
from dejavu_lightning.embedding.sample_facts import facts_form, joined_facts
from dejavu_lightning.methods import CLIP, VICReg

SAMPLES = 100_000


def kept_for_backward(forward: Callable[[int], Any], batch: int) -> int:
    """Bytes of the tensors that the backward pass needs, each storage once."""
    held: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        outputs = forward(batch)  # holds all that is kept: no address comes twice
    del outputs
    return sum(held.values())


def of_a_picture(forward: Callable[[int], Any]) -> float:
    """The same of one picture: what two more of them add, so that copies of weights drop out."""
    return (kept_for_backward(forward, 4) - kept_for_backward(forward, 2)) / 2


def host_bytes(ids: list[str], facts: list[Any]) -> float:
    """Bytes of a sample's id and facts, as a process holds them that has them from all."""
    form = facts_form(facts)
    assert form is not None
    tracemalloc.start()
    try:
        kept = joined_words(ids), joined_facts(facts, {form}, len(facts))
        return tracemalloc.get_traced_memory()[0] / len(kept[0])
    finally:
        tracemalloc.stop()


def main() -> None:
    torch.manual_seed(0)
    print(f"torch {torch.__version__}")
    vicreg = VICReg(backbone="torchvision/resnet50", projector_widths=[8192, 8192, 8192], image_size=224)
    clip = CLIP(model="ViT-S-16")
    for method in (vicreg, clip):
        method.configure_model()

    def two_views(batch: int) -> list[Tensor]:
        return [vicreg(torch.randn(batch, 3, 224, 224)) for _ in range(2)]

    def pairs(batch: int) -> list[Tensor]:
        captions = [f"a picture of {row}" for row in range(batch)]
        return [clip.encode_image(torch.randn(batch, 3, 224, 224)), clip.encode_text(captions)]

    for name, method, forward in (("vicreg", vicreg, two_views), ("clip", clip, pairs)):
        weights = sum(parameter.numel() for parameter in method.parameters())
        print(f"{name}_parameters {weights:.4g}")
        print(f"{name}_activations {of_a_picture(forward):.4g}")
    labels, objects = torch.randint(1000, (SAMPLES,)).tolist(), torch.randint(256, (SAMPLES, 3)).tolist()
    ids = {length: [f"{row:0{length}d}" for row in range(SAMPLES)] for length in (29, 15)}
    print(f"label_bytes {host_bytes(ids[29], labels):.0f}")
    print(f"caption_bytes {host_bytes(ids[15], [{'objects': row} for row in objects]):.0f}")


if __name__ == "__main__":
    main()
