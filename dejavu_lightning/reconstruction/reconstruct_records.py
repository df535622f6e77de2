"""Records made visible: samples of the mean embedding of the public neighbours of each crop.

Figure 1 of Meehan et al. (2023, arXiv 2304.13850).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dejavu_lightning.core.estimate import Estimate
from dejavu_lightning.core.intervals import bounded_mean, difference, p_value, paired_gap
from dejavu_lightning.core.progress.long_work import long_work
from dejavu_lightning.core.samples import Samples
from dejavu_lightning.embedding.embed import Embedded, check_not_collapsed, embed
from dejavu_lightning.embedding.encoders import ModuleEncoder, preserve_state
from dejavu_lightning.embedding.nearest.search import search
from dejavu_lightning.reconstruction.embedding_diffusion import SAMPLING_STEPS, EmbeddingDiffusion
from dejavu_lightning.reconstruction.public_pictures import EMBED_BATCH

SAMPLE_BATCH = 100


class Reconstructions(NamedTuple):
    """What one model gives away of N records.

    Attributes:
        ids: of the records.
        labels: (N,) true ones.
        samples: (N, samples, 3, S, S) uint8.

    Example:
        >>> import torch
        >>> Reconstructions(["a"], torch.tensor([0]), torch.zeros(1, 4, 3, 32, 32, dtype=torch.uint8)).ids
        ['a']
    """

    ids: list[str]
    labels: Tensor
    samples: Tensor


def mean_of_neighbors(queries: Embedded, bank: Embedded, k: int, role: str) -> Tensor:
    """Average the embeddings of the k nearest public samples of each query: the condition of its samples.

    Args:
        queries: of N crops.
        bank: of the public samples, by the same encoder.
        k: neighbours.
        role: what errors call the set of the queries.

    Returns:
        (N, D).

    Raises:
        ValueError: an id is in both sets, or k is not in [1, size of the bank].

    Example:
        >>> import torch
        >>> from dejavu_lightning.embedding.embed import Embedded
        >>> public = Embedded(torch.arange(3), torch.tensor([[0.0], [2.0], [9.0]]), ["a", "b", "c"], [0, 0, 1])
        >>> crop = Embedded(torch.arange(1), torch.tensor([[1.5]]), ["d"], [0])
        >>> mean_of_neighbors(crop, public, k=2, role="attack")
        tensor([[1.]])
    """
    nearest = search(queries, bank, k, role).indices
    everyone = bank.gather()
    return torch.stack([everyone[rows].float().mean(dim=0) for rows in nearest])


def reconstruct_records(
    encoder: ModuleEncoder,
    diffusion: EmbeddingDiffusion,
    public: Samples,
    attacked: Sequence[Samples],
    k: int,
    samples: int = 4,
    steps: int = SAMPLING_STEPS,
    seed: int = 0,
) -> list[Reconstructions]:
    """Make pictures of what an encoder gives away of crops.

    Two models that are given one seed begin from the same noise, so that their samples differ by the embeddings alone.

    Args:
        encoder: the attacked model.
        diffusion: trained on embeddings of this encoder.
        public: labelled whole pictures, as the encoder takes them.
        attacked: sets of crops, likewise.
        k: public neighbours whose embeddings are averaged.
        samples: pictures of each record.
        steps: of the sampler.
        seed: of the noise.

    Returns:
        Those of each set.

    Raises:
        ValueError: a set cannot be embedded, or the diffusion model takes embeddings of another width.

    Example:
        >>> import torch
        >>> from dejavu_lightning.memorization import ModuleEncoder
        >>> from dejavu_lightning.reconstruction import EmbeddingDiffusion, MadeFor
        >>> public = [(torch.rand(3, 2, 2), label) for label in (0, 1)]
        >>> diffusion = EmbeddingDiffusion(channels=(8, 8))
        >>> diffusion.build(MadeFor("encoder.ckpt", "", width=12, image_size=16))
        >>> crops = [(torch.rand(3, 2, 2), 0)]
        >>> found = reconstruct_records(ModuleEncoder(torch.nn.Flatten()), diffusion, public, [crops], k=1, steps=2)
        >>> found[0].ids, found[0].samples.shape
        (['attack/0'], torch.Size([1, 4, 3, 16, 16]))
    """
    assert diffusion.made_for is not None
    side, device = diffusion.made_for.image_size, encoder.device
    diffusion.to(device).eval()
    found = []
    with preserve_state(encoder.module):
        bank = embed(encoder, public, "public", EMBED_BATCH, 0)
        check_not_collapsed(bank, "public")
        for number, records in enumerate(attacked):
            role = "held-out" if number else "attack"
            queries = embed(encoder, records, role, EMBED_BATCH, 0)
            conditions = mean_of_neighbors(queries, bank, k, role).repeat_interleave(samples, dim=0)
            generator = torch.Generator().manual_seed(seed + number)
            noise = torch.randn(len(conditions), 3, side, side, generator=generator)
            made = []
            with long_work(f"making pictures of the {role} set", len(noise), "picture") as advance:
                for rows in torch.split(torch.arange(len(noise)), SAMPLE_BATCH):
                    made.append(diffusion.sample(conditions[rows].to(device), noise[rows].to(device), steps).cpu())
                    advance(len(rows))
            pictures = torch.cat(made)
            found.append(Reconstructions(queries.ids, queries.labels, pictures.view(-1, samples, *pictures.shape[1:])))
    return found


def compare_shares(target: Sequence[Tensor], reference: Sequence[Tensor]) -> dict[str, Estimate]:
    """Estimate how much more often samples of the target show the label of the record than those of the reference.

    Args:
        target: (N, samples) whether each sample shows the label of its record, of the attacked records, and of those
            that neither model saw where there are such.
        reference: the same of the same records.

    Returns:
        ``target_share``, ``reference_share`` and their difference ``share_gap``, paired over records; with held-out
        records also the same difference there, ``control_share_gap``, and the gap less that, ``net_share_gap``.

    Example:
        >>> import torch
        >>> shown = torch.tensor([[True, True], [True, False]]), torch.tensor([[True, False], [False, False]])
        >>> found = compare_shares([shown[0]], [shown[1]])
        >>> found["target_share"].value, found["reference_share"].value, found["share_gap"].value
        (0.75, 0.25, 0.5)
    """
    shares = [
        (own.double().mean(dim=1).numpy(), other.double().mean(dim=1).numpy())
        for own, other in zip(target, reference, strict=True)
    ]
    gaps = [paired_gap(own - other) for own, other in shares]
    found = {"target_share": bounded_mean(shares[0][0]), "reference_share": bounded_mean(shares[0][1])}
    if len(gaps) == 1:
        return found | {"share_gap": gaps[0]}
    net = difference(gaps[0], gaps[1])
    return found | {
        "share_gap": gaps[0],
        "control_share_gap": gaps[1],
        "net_share_gap": net._replace(p_value=p_value(net)),
    }
