"""Pictures of what an encoder gives away of records: a diffusion model conditioned on its embeddings."""

from dejavu_lightning.reconstruction.embedding_diffusion import EmbeddingDiffusion, load_diffusion
from dejavu_lightning.reconstruction.picture_classifier import PictureClassifier, train_classifier
from dejavu_lightning.reconstruction.public_pictures import MadeFor, Pictures, PublicPictures
from dejavu_lightning.reconstruction.reconstruct_records import (
    Reconstructions,
    compare_shares,
    mean_of_neighbors,
    reconstruct_records,
)

__all__ = [
    "EmbeddingDiffusion",
    "MadeFor",
    "PictureClassifier",
    "Pictures",
    "PublicPictures",
    "Reconstructions",
    "compare_shares",
    "load_diffusion",
    "mean_of_neighbors",
    "reconstruct_records",
    "train_classifier",
]
