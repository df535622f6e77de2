"""A diffusion model that makes pictures of embeddings (RCDM of Bordes et al. 2022, arXiv 2112.09164).

Network, noise schedule and sampler are those of Hugging Face's diffusers. Deviations: a much smaller network, which
works on squares of ``patch`` pixels and takes the embedding beside the time step (RCDM: conditional batch
normalisation); it predicts the velocity, and samples are drawn by DDIM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn.functional import mse_loss, pixel_shuffle, pixel_unshuffle

from dejavu_lightning.embedding.encoders import mismatch
from dejavu_lightning.methods.training import is_trial, log_loss, planned_steps, warmup_cosine
from dejavu_lightning.reconstruction.public_pictures import MadeFor, PublicPictures, from_pixels, to_pixels
from dejavu_lightning.runs.checkpoints import load_checkpoint

KEY = "embedding_diffusion"  # of a checkpoint
NORM_GROUPS = 8
SAMPLING_STEPS = 20


class EmbeddingDiffusion(LightningModule):
    """A diffusion model that makes pictures of the embeddings of one encoder.

    It is trained on :class:`~dejavu_lightning.reconstruction.public_pictures.PublicPictures`, which say whose
    embeddings these are, and makes what it needs of them: it is built when training begins.

    Args:
        channels: of the network's levels; each after the first halves the side, and the last attends.
        layers: residual blocks of a level.
        patch: side of the squares of pixels that the network takes as one. The first of ``channels`` should be no less
            than their 3 patch² numbers, all of which the noise needs.
        steps: of the noise schedule.
        learning_rate: of AdamW, after the warm-up.
        warmup_epochs: epochs of linear warm-up; a cosine follows.

    Raises:
        ValueError: channels are not multiples of 8, or diffusers is not installed.

    Example:
        >>> import torch
        >>> from dejavu_lightning.reconstruction import MadeFor
        >>> model = EmbeddingDiffusion(channels=(8, 8))
        >>> model.build(MadeFor("encoder.ckpt", "", width=4, image_size=16))
        >>> model.sample(torch.zeros(2, 4), noise=torch.randn(2, 3, 16, 16), steps=2).shape
        torch.Size([2, 3, 16, 16])
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        channels: Sequence[int] = (64, 128),
        layers: int = 1,
        patch: int = 2,
        steps: int = 1000,
        learning_rate: float = 1e-3,
        warmup_epochs: float = 1.0,
    ) -> None:
        super().__init__()
        wrong = [count for count in channels if count < 1 or count % NORM_GROUPS]
        if wrong or not channels:
            raise ValueError(f"channels must be multiples of {NORM_GROUPS}, got {list(channels)}")
        self.schedule = _diffusers().DDPMScheduler(
            num_train_timesteps=steps, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"
        )
        self.settings: dict[str, Any] = {"channels": list(channels), "layers": layers, "patch": patch, "steps": steps}
        self.learning_rate, self.warmup_epochs = learning_rate, warmup_epochs
        self.patch = patch
        self.made_for: MadeFor | None = None

    def build(self, made_for: MadeFor) -> None:
        """Make the network for the embeddings of one encoder.

        Raises:
            ValueError: the pictures' side cannot be halved as often as there are levels.
        """
        channels, levels = self.settings["channels"], len(self.settings["channels"])
        smallest = self.patch * 2 ** (levels - 1)
        if made_for.image_size % smallest:
            raise ValueError(
                f"pictures of {made_for.image_size} pixels cannot be halved {levels - 1} times after patches of "
                f"{self.patch}: data.image_size must be a multiple of {smallest}, or give model.channels fewer levels"
            )
        colors, embedded = 3 * self.patch**2, 4 * channels[0]
        self.network = _diffusers().UNet2DModel(
            sample_size=made_for.image_size // self.patch,
            in_channels=colors,
            out_channels=colors,
            block_out_channels=tuple(channels),
            down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
            layers_per_block=self.settings["layers"],
            norm_num_groups=NORM_GROUPS,
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity",  # added to the time step's embedding
        )
        self.condition = nn.Sequential(nn.Linear(made_for.width, embedded), nn.SiLU(), nn.Linear(embedded, embedded))
        self.register_buffer("mean", torch.zeros(made_for.width))
        self.register_buffer("deviation", torch.ones(made_for.width))
        self.made_for = made_for

    def configure_model(self) -> None:
        """Build the network for the embeddings of the data.

        Raises:
            ValueError: the data are no ``PublicPictures``.
        """
        if self.made_for is not None:
            return
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, PublicPictures) or data.made_for is None:
            raise ValueError(
                f"EmbeddingDiffusion is trained on dejavu_lightning.reconstruction.PublicPictures, got "
                f"{type(data).__name__}"
            )
        self.build(data.made_for)
        self.mean.copy_(data.embeddings.mean(dim=0))
        # A number that is the same of all pictures tells nothing; it must not become infinite.
        self.deviation.copy_(data.embeddings.std(dim=0).clamp(min=1e-6))

    def forward(self, noisy: Tensor, step: Tensor, embeddings: Tensor) -> Tensor:
        """noisy (B, 3 patch², S / patch, S / patch), step () or (B,), embeddings (B, D) -> velocity like noisy."""
        condition = self.condition((embeddings - self.mean) / self.deviation)
        predicted: Tensor = self.network(noisy, step, class_labels=condition).sample
        return predicted

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """batch["pixels"] (B, 3, S, S) uint8, batch["embedding"] (B, D)."""
        clean = pixel_unshuffle(from_pixels(batch["pixels"]), self.patch)
        noise = torch.randn_like(clean)
        step = torch.randint(self.settings["steps"], (len(clean),), device=clean.device)
        noisy = self.schedule.add_noise(clean, noise, step)
        loss = mse_loss(self(noisy, step, batch["embedding"]), self.schedule.get_velocity(clean, noise, step))
        return log_loss(self, loss, len(clean))

    def configure_optimizers(self) -> Any:
        """AdamW, warm-up and cosine by step."""
        steps = planned_steps(self)
        warmup = 0 if is_trial(self) else round(self.warmup_epochs * self.trainer.num_training_batches)
        optimizer = torch.optim.AdamW(self.parameters(), self.learning_rate, weight_decay=0.01)
        return warmup_cosine(optimizer, warmup, steps, 0.0, f"warmup_epochs={self.warmup_epochs}")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say how the network is built, and of whose embeddings it makes pictures."""
        assert self.made_for is not None
        checkpoint[KEY] = {"settings": self.settings, "made_for": self.made_for._asdict()}

    @torch.no_grad()
    def sample(self, embeddings: Tensor, noise: Tensor, steps: int = SAMPLING_STEPS) -> Tensor:
        """Make pictures of embeddings.

        Args:
            embeddings: (B, D) of the encoder.
            noise: (B, 3, S, S) standard normal, which decides what the embedding leaves open.
            steps: of the sampler.

        Returns:
            (B, 3, S, S) uint8.

        Raises:
            ValueError: the embeddings are of another width.
        """
        assert self.made_for is not None
        if embeddings.shape[1] != self.made_for.width:
            raise ValueError(
                f"the diffusion model takes embeddings of width {self.made_for.width}, those of "
                f"{self.made_for.encoder}; got {embeddings.shape[1]}"
            )
        sampler = _diffusers().DDIMScheduler.from_config(self.schedule.config, timestep_spacing="trailing")
        sampler.set_timesteps(steps, device=noise.device)
        values = pixel_unshuffle(noise, self.patch)
        for step in sampler.timesteps:
            values = sampler.step(self(values, step, embeddings), step, values).prev_sample
        return to_pixels(pixel_shuffle(values, self.patch))


def load_diffusion(file: str | Path) -> EmbeddingDiffusion:
    """Load a trained diffusion model.

    Args:
        file: its checkpoint, of ``fit --config configs/reconstruction/...``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is the checkpoint of another model, or its weights do not fit.

    Example:
        >>> load_diffusion("weights.pth")
        Traceback (most recent call last):
        ValueError: weights.pth: not a Lightning checkpoint, ...
    """
    checkpoint = load_checkpoint(Path(file), intact=True)
    told = checkpoint.get(KEY)
    if not isinstance(told, dict):
        raise ValueError(
            f"{file} is no diffusion model: train one on the embeddings of each encoder by fit --config "
            "configs/reconstruction/scenes.yaml --data.encoder CHECKPOINT, and name its checkpoint"
        )
    model = EmbeddingDiffusion(**told["settings"])
    model.build(MadeFor(**told["made_for"]))
    if problems := mismatch(model.state_dict(), checkpoint["state_dict"]):
        raise ValueError(f"{file}: its weights do not fit the network that it describes ({problems})")
    model.load_state_dict(checkpoint["state_dict"])
    return model.eval()


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise ValueError('EmbeddingDiffusion needs diffusers: pip install "dejavu-lightning[reconstruct]"') from error
    return diffusers
