"""CLIP (Radford et al. 2021, arXiv 2103.00020) on open_clip's models, tokenizers and losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from dejavu_lightning.losses.clip_loss import clip_loss
from dejavu_lightning.losses.siglip_loss import siglip_loss
from dejavu_lightning.methods.clip_settings import (
    SIGLIP_TEMPERATURE,
    ClipOptimizerConfig,
    ContrastiveLoss,
    Temperature,
    prepare_bias,
)
from dejavu_lightning.methods.initial import (
    check_preprocessing,
    freeze_parts,
    keep_frozen,
    load_initial,
    load_into,
    set_trainable,
)
from dejavu_lightning.methods.training import create_optimizer, is_trial, log_loss, planned_steps, warmup_cosine
from dejavu_lightning.models.clip_networks import add_noise, build_clip, mask_tokens, token_kinds
from dejavu_lightning.pretrained.open_clip_model import ClipEncoder
from dejavu_lightning.pretrained.pretrained_model import PretrainedModel


class CLIP(LightningModule):
    """Train with CLIP's or SigLIP's loss on batches of images and captions.

    Radford et al. (2021, arXiv 2103.00020) and Zhai et al. (2023, arXiv 2303.15343), on open_clip's models; see
    :func:`~dejavu_lightning.losses.clip_loss.clip_loss` and
    :func:`~dejavu_lightning.losses.siglip_loss.siglip_loss`. The mitigations are those of Jayaraman et al. (2024,
    arXiv 2402.02103, section 5), and noise on the embeddings of captions, as of Wang et al. (2025, arXiv 2502.07830).

    Args:
        model: see :func:`~dejavu_lightning.models.clip_networks.build_clip`.
        pretrained: a tag of the model, or a file of weights.
        model_options: more arguments of open_clip's ``create_model``, such as ``force_image_size``.
        init: a published model to begin from: an ``OpenClipModel`` instead of ``model`` and ``pretrained``; of another
            class the weights of the image tower, whose network ``model`` must name as a timm tower.
        freeze: parts that are not trained and stay in evaluation mode: "backbone", the image tower, of a timm tower
            the network without its projection, or dotted paths such as ["model.transformer"].
        loss: "clip", a softmax over the batch, or "siglip", a sigmoid of each pair. Both are tested alike, by cosines.
        temperature: see :class:`Temperature`.
        logit_bias: of "siglip", at the start, then learned; the pretrained model's, or -10, if not given.
        text_masking: probability that a token of a caption is masked, drawn afresh every step of training and
            never at measurements. Start, end and padding are never masked.
        text_noise: standard deviation of noise on the unit vectors of captions, drawn afresh every step of training and
            never at measurements; see :func:`~dejavu_lightning.models.clip_networks.add_noise`.
        optimizer: see :class:`ClipOptimizerConfig`.
        local_loss: see :func:`~dejavu_lightning.losses.clip_loss.clip_loss`; for large global batches.
        grad_checkpointing: compute activations twice instead of keeping them, to save memory.
        channels_last: lay out images and kernels channels last, which is faster for most convolutions.
        compile: compile both towers for training with ``torch.compile``; measurements stay uncompiled.

    Raises:
        ValueError: ``text_masking`` is not in [0, 1], ``text_noise`` is negative, the temperature's bounds are out of
            order, there is no such model, or it has a logit bias that ``loss`` has no use for.

    Example:
        >>> import torch
        >>> from dejavu_lightning.methods import Temperature
        >>> model = CLIP("dejavu-tiny", temperature=Temperature(initial=0.1), text_masking=0.3)
        >>> model.encode_image(torch.zeros(2, 3, 48, 48)).shape, model.encode_text(["a cat", "a dog"]).shape
        (torch.Size([2, 128]), torch.Size([2, 128]))
    """

    def __init__(
        self,
        model: str = "ViT-B-32",
        pretrained: str | None = None,
        model_options: dict[str, Any] | None = None,
        init: PretrainedModel | None = None,
        freeze: str | Sequence[str] = (),
        loss: ContrastiveLoss = "clip",
        temperature: Temperature | None = None,
        logit_bias: float | None = None,
        text_masking: float = 0.0,
        text_noise: float = 0.0,
        optimizer: ClipOptimizerConfig | None = None,
        local_loss: bool = False,
        grad_checkpointing: bool = False,
        channels_last: bool = True,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= text_masking <= 1:
            raise ValueError(f"text_masking must lie in [0, 1], got {text_masking}")
        if not (math.isfinite(text_noise) and text_noise >= 0):
            raise ValueError(f"text_noise must be 0 or more, got {text_noise}")
        self.temperature = temperature or Temperature()
        self.temperature.check()
        self.model: Any
        self.init_name, self.init_preprocessing = "", None
        loaded = None if init is None else load_initial(init)
        whole = loaded is not None and isinstance(loaded.module, ClipEncoder)
        if whole and (pretrained or model_options):
            raise ValueError(
                f"model.init is a whole CLIP model and takes the place of model.pretrained={pretrained!r} and "
                f"model.model_options={model_options}: give one or the other"
            )
        if loaded is not None and isinstance(loaded.module, ClipEncoder):
            set_trainable(loaded.module.train(), True)  # whatever mode others left it in
            self.model, self.tokenizer = loaded.module.model, loaded.module.tokenizer
        else:
            sigmoid = loss == "siglip"
            self.model, self.tokenizer = build_clip(model, pretrained, sigmoid, **(model_options or {}))
            if loaded is not None:
                load_into(self._image_backbone(), loaded, f"the image tower of {model}")
        if loaded is not None:
            self.init_name, self.init_preprocessing = loaded.name, loaded.preprocessing
        prepare_bias(self.model, loss, logit_bias, f"model.init: {self.init_name}")
        if grad_checkpointing:
            self.model.set_grad_checkpointing()
        initial = self.temperature.initial
        if initial is None and loss == "siglip" and not (whole or pretrained):
            initial = SIGLIP_TEMPERATURE
        if initial is not None:
            nn.init.constant_(self.logit_scale, math.log(1 / initial))
        self.logit_scale.requires_grad_(self.temperature.learned)
        self.pretrained, self.loss = pretrained, loss
        self.text_noise = text_noise
        self.text_masking, self.local_loss, self.compile_towers = text_masking, local_loss, compile
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model.visual.to(memory_format=self.memory_format)
        self.optimizer = optimizer or ClipOptimizerConfig()
        named = (freeze,) if isinstance(freeze, str) else tuple(freeze)
        self.frozen = tuple(self._image_path() if name == "backbone" else name for name in named)
        if text_masking:
            self.token_kinds = token_kinds(self.tokenizer)

    def configure_model(self) -> None:
        """Freeze, and compile in place, so that the names of the weights stay."""
        freeze_parts(self, self.frozen)
        if self.compile_towers:
            for tower in (self.model.visual, getattr(self.model, "transformer", None) or self.model.text):
                tower.compile()

    @property
    def logit_scale(self) -> nn.Parameter:
        """The log of 1 / temperature, 0-dim."""
        scale: nn.Parameter = self.model.logit_scale
        return scale

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all that is trained; frozen parts stay in evaluation mode."""
        super().train(mode)
        keep_frozen(self, getattr(self, "frozen", ()))
        return self

    def encode_image(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) normalised, or features of them (B, F) -> unit vectors (B, D)."""
        if images.ndim == 2:
            head: nn.Module = getattr(self.model.visual, "head", None) or nn.Identity()
            return nn.functional.normalize(head(images), dim=1)
        self._check_size(images)
        laid_out = images.contiguous(memory_format=self.memory_format)
        return nn.functional.normalize(self.model.encode_image(laid_out), dim=1)

    def frozen_features(self, images: Tensor) -> Tensor:
        """What ``data.cached_views`` computes once, images (B, 3, H, W) normalised -> features (B, F).

        Raises:
            ValueError: the network of the image tower is trained.
        """
        if self._image_path() not in self.frozen:
            raise ValueError(
                "data.cached_views needs an image tower that is not trained: set model.freeze=backbone, got "
                f"{list(self.frozen)}"
            )
        self._check_size(images)
        features = self._image_backbone()(images.contiguous(memory_format=self.memory_format))
        if not isinstance(features, Tensor) or features.ndim != 2:
            given = tuple(features.shape) if isinstance(features, Tensor) else f"a {type(features).__name__}"
            raise ValueError(f"data.cached_views needs pooled features (B, F) of the image tower, got {given}")
        return features

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """B captions -> unit vectors (B, D)."""
        return self.encode_tokens(self.tokenizer(list(captions)).to(self.device))

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """tokens (B, L) -> unit vectors (B, D)."""
        return nn.functional.normalize(self.model.encode_text(tokens), dim=1)

    def encode(self, images: Tensor) -> Tensor:
        """Encode for tests of images alone, see :meth:`encode_image`."""
        return self.encode_image(images)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """batch["image"] (B, 3, H, W); batch["caption"] B strings, or batch["tokens"] (B, L)."""
        image = batch["image"]
        tokens = batch["tokens"] if "tokens" in batch else self.tokenizer(batch["caption"]).to(image.device)
        if self.text_masking:
            tokens = mask_tokens(tokens, self.text_masking, self.token_kinds)
        temperature = torch.exp(-self.logit_scale)
        images, text = self.encode_image(image), self.encode_tokens(tokens)
        pairs = (images, add_noise(text, self.text_noise) if self.text_noise else text)
        if self.loss == "siglip":
            bias = self.model.logit_bias
            loss = siglip_loss(*pairs, temperature=temperature, bias=bias, local_loss=self.local_loss)
            self.log("train/logit_bias", bias.detach(), on_step=False, on_epoch=True, batch_size=len(image))
        else:
            loss = clip_loss(*pairs, temperature=temperature, local_loss=self.local_loss)
        self.log("train/temperature", temperature.detach(), on_step=False, on_epoch=True, batch_size=len(image))
        return log_loss(self, loss, len(image), over_ranks=self.local_loss)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Keep the temperature within its bounds, before anything saves a checkpoint."""
        super().optimizer_step(*args, **kwargs)
        if self.logit_scale.requires_grad:
            with torch.no_grad():
                low, high = (math.log(1 / bound) for bound in (self.temperature.maximum, self.temperature.minimum))
                self.logit_scale.clamp_(low, high)

    def configure_optimizers(self) -> Any:
        """AdamW from timm, schedule from torch, stepped every batch."""
        settings = self.optimizer
        optimizer = create_optimizer(
            self,
            "adamw",
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
        )
        asked = f"optimizer.warmup_steps={settings.warmup_steps}"
        final = settings.lr * settings.final_lr_fraction
        warmup = 0 if is_trial(self) else settings.warmup_steps
        return warmup_cosine(optimizer, warmup, planned_steps(self), final, asked)

    def setup(self, stage: str) -> None:
        """Refuse a preprocessing other than the one that pretrained weights were trained with.

        Raises:
            ValueError: the datamodule has another.
        """
        data = getattr(self.trainer, "datamodule", None)
        check_preprocessing(self.init_preprocessing, data, self.init_name)
        given = getattr(data, "preprocessing", None)
        expected = self.model.visual.preprocess_cfg
        if not self.pretrained or given is None:
            return
        told = {name: getattr(given, name) for name in ("mean", "std", "interpolation")}
        wrong = [name for name, value in told.items() if _told(value) != _told(expected[name])]
        if wrong:
            listed = ", ".join(f"data.{name}: {told[name]} instead of {expected[name]}" for name in wrong)
            raise ValueError(f"the weights {self.pretrained!r} were trained with another preprocessing ({listed})")

    def _image_path(self) -> str:
        """Where the image tower's network is, without the projection of a timm tower."""
        return "model.visual.trunk" if hasattr(self.model.visual, "trunk") else "model.visual"

    def _image_backbone(self) -> nn.Module:
        return self.get_submodule(self._image_path())

    def _check_size(self, image: Tensor) -> None:
        expected = self.model.visual.image_size
        sides = tuple(expected) if isinstance(expected, (tuple, list)) else (expected, expected)
        if tuple(image.shape[2:]) != sides:
            raise ValueError(
                f"the model takes images of {sides[0]} x {sides[1]} pixels, the data give {image.shape[2]} x "
                f"{image.shape[3]}: set data.image_size={sides[0]}, or model_options={{force_image_size: ...}}"
            )


def _told(value: Any) -> Any:
    return value if isinstance(value, str) else tuple(value)
