"""The base class of the self-supervised methods: backbone, projector, embedding and optimiser."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from dejavu_lightning.methods.initial import (
    check_learns,
    check_preprocessing,
    freeze_parts,
    freeze_unreached,
    initial_parts,
    keep_frozen,
    load_initial,
    set_trainable,
)
from dejavu_lightning.methods.training import create_optimizer, is_trial, log_loss, planned_steps, warmup_cosine
from dejavu_lightning.models.backbones import build_backbone, feature_width
from dejavu_lightning.models.heads import projection_width, projector, projector_layers
from dejavu_lightning.pretrained.pretrained_model import PretrainedModel
from dejavu_lightning.pretrained.programs import is_program


@dataclass
class OptimizerConfig:
    """Settings of the optimiser and its schedule: linear warm-up, then cosine, by step.

    Args:
        name: "lars" or "adamw", from timm; biases and norms get no weight decay, and with LARS no adaptation.
        base_lr: learning rate at a global batch of 256; what is used, and logged as ``optimizer/scaled_lr``,
            is base_lr * global batch / 256.
        weight_decay: of weight matrices and kernels.
        warmup_epochs: epochs of linear warm-up from 1/1000 of the learning rate.
        final_lr_fraction: where the cosine ends, as a share of the learning rate.
        options: more arguments of timm's optimiser.

    Example:
        >>> OptimizerConfig(name="adamw", base_lr=1e-3, warmup_epochs=5).final_lr_fraction
        0.001
    """

    name: Literal["lars", "adamw"] = "lars"
    base_lr: float = 0.2
    weight_decay: float = 1e-6
    warmup_epochs: float = 10
    final_lr_fraction: float = 0.001
    options: dict[str, Any] = field(default_factory=dict)


class SelfSupervisedMethod(LightningModule):
    """A backbone, a projector and their optimiser; subclasses add ``training_step``.

    Args:
        backbone: see :func:`~dejavu_lightning.models.backbones.build_backbone`.
        backbone_options: passed to the backbone's constructor.
        init: a published model to begin from, instead of ``backbone``: any of :mod:`dejavu_lightning.pretrained`. Where
            it has a projector, that is taken too, instead of ``projector_widths``.
        freeze: parts that are not trained and stay in evaluation mode: "backbone", or dotted paths of parts or single
            weights, such as ["backbone.conv1", "backbone.layer1"].
        projector_widths: the projector's layers.
        image_size: side in pixels of the images.
        embedding: what the memorization tests see: "projector", "backbone", or the output of a linear layer between
            them, such as "projector.1". The choice is itself a mitigation (guillotine): towards the backbone less of
            the single pictures is left.
        optimizer: see :class:`OptimizerConfig`.
        channels_last: lay out images and kernels channels last, which is faster for most convolutions; a program's stay
            as they are.
        compile: compile the backbone for training with ``torch.compile``; measurements stay uncompiled, and so does a
            program, TorchScript or exported.

    Raises:
        ValueError: there is no such ``embedding`` or backbone.

    Example:
        >>> import torch
        >>> class Still(SelfSupervisedMethod):
        ...     def training_step(self, batch, batch_idx):
        ...         view_a, view_b = self.two_views(batch)
        ...         return self.log_loss((self(view_a) - self(view_b)).square().mean(), len(view_a))
        >>> model = Still(backbone="small_resnet", projector_widths=(16,), image_size=32, embedding="backbone")
        >>> model.encode(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 128])
    """

    def __init__(
        self,
        backbone: str = "torchvision/resnet50",
        backbone_options: dict[str, Any] | None = None,
        init: PretrainedModel | None = None,
        freeze: str | Sequence[str] = (),
        projector_widths: Sequence[int] = (8192, 8192, 8192),
        image_size: int = 224,
        embedding: str = "projector",
        optimizer: OptimizerConfig | None = None,
        channels_last: bool = True,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.frozen = (freeze,) if isinstance(freeze, str) else tuple(freeze)
        given: nn.Sequential | None = None
        self.init_name, self.init_preprocessing = "", None
        if init is None:
            self.backbone = build_backbone(backbone, **(backbone_options or {}))
        else:
            loaded = load_initial(init)
            self.backbone, given = initial_parts(loaded)
            for part in filter(None, (self.backbone, given)):  # whatever mode others left it in
                set_trainable(part.train(), True)
            if "backbone" not in self.frozen:
                check_learns(self.backbone, loaded.name)
            self.init_name, self.init_preprocessing = loaded.name, loaded.preprocessing
        self.feature_width = feature_width(self.backbone, image_size)
        if init is not None and "backbone" not in self.frozen:
            freeze_unreached(self.backbone, image_size, self.init_name)
        self.projector = given or self.build_projector(self.feature_width, projector_widths)
        self.projection_width = projection_width(self.projector, self.feature_width)
        linear = sum(isinstance(layer, nn.Linear) for layer in self.projector)
        offered = ["projector", "backbone", *(f"projector.{number}" for number in range(1, linear + 1))]
        if embedding not in offered:
            raise ValueError(f"embedding must be one of {', '.join(offered)}; got {embedding!r}")
        self.embedding, self.compile_backbone = embedding, compile
        self.optimizer = optimizer or OptimizerConfig()
        self.program = is_program(self.backbone)
        channels_last = channels_last and not self.program
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        if not self.program:
            self.backbone.to(memory_format=self.memory_format)

    def build_projector(self, width_in: int, widths: Sequence[int]) -> nn.Sequential:
        """Build the layers between the features and the loss; methods with other layers override it."""
        return projector(width_in, widths)

    def configure_model(self) -> None:
        """Freeze, now that all parts are there, and compile in place, so that the names of the weights stay."""
        freeze_parts(self, self.frozen)
        if self.compile_backbone and self.program:
            rank_zero_warn(f"model.compile: {self.init_name} is a program and runs as it is")
        elif self.compile_backbone:
            self.backbone.compile()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all that is trained; frozen parts stay in evaluation mode."""
        super().train(mode)
        keep_frozen(self, getattr(self, "frozen", ()))
        return self

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) normalised, or features of them (B, F) -> projector output (B, D)."""
        projected: Tensor = self.projector(self.features(images))
        return projected

    def features(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) normalised -> backbone features (B, F); features that are cached stay as they are."""
        if images.ndim == 2:
            return images
        features: Tensor = self.backbone(images.contiguous(memory_format=self.memory_format))
        return features

    def frozen_features(self, images: Tensor) -> Tensor:
        """What ``data.cached_views`` computes once, images (B, 3, H, W) normalised -> features (B, F).

        Raises:
            ValueError: the backbone is trained.
        """
        if "backbone" not in self.frozen:
            raise ValueError(
                f"data.cached_views needs a backbone that is not trained: set model.freeze=backbone, got {self.frozen}"
            )
        return self.features(images)

    def encode(self, images: Tensor) -> Tensor:
        """Encode for the memorization tests: (B, D) or (B, F), as ``embedding`` says."""
        if self.embedding == "projector":
            embedded: Tensor = self(images)
            return embedded
        return projector_layers(self.features(images), self.projector, self.embedding)[self.embedding]

    def encode_layers(self, images: Tensor) -> dict[str, Tensor]:
        """Encode to the features and the output of each linear layer of the projector, by name."""
        return projector_layers(self.features(images), self.projector)

    def setup(self, stage: str) -> None:
        """Refuse another normalisation than the one that initial weights were trained with."""
        check_preprocessing(self.init_preprocessing, getattr(self.trainer, "datamodule", None), self.init_name)

    def two_views(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Take the two views of a batch; raise if it has another number."""
        views = batch["views"]
        if len(views) != 2:
            raise ValueError(f"{type(self).__name__} compares 2 views of each picture, data.views makes {len(views)}")
        return views[0], views[1]

    def log_loss(self, loss: Tensor, batch_size: int) -> Tensor:
        """Log the training loss and hand it back; see :func:`~dejavu_lightning.methods.training.log_loss`."""
        return log_loss(self, loss, batch_size)

    def configure_optimizers(self) -> Any:
        """Optimiser from timm, schedule from torch, stepped every batch."""
        settings = self.optimizer
        steps = planned_steps(self)
        self._scaled_for = self._global_batch()
        lr = settings.base_lr * self._scaled_for / 256
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        warmup = 0 if is_trial(self) else round(settings.warmup_epochs * steps_per_epoch)
        asked = f"optimizer.warmup_epochs={settings.warmup_epochs}"
        self.scaled_lr = lr
        return warmup_cosine(self.build_optimizer(lr), warmup, steps, lr * settings.final_lr_fraction, asked)

    def build_optimizer(self, lr: float) -> torch.optim.Optimizer:
        """Build the optimiser of all that is trained; 1-D tensors get no weight decay and no adaptation."""
        settings = self.optimizer
        # timm gives 1-D tensors no weight decay, and its LARS adapts only what decays: kernels must decay a little.
        decay = settings.weight_decay or (torch.finfo(torch.float32).tiny if settings.name == "lars" else 0.0)
        options = {"lr": lr, "weight_decay": decay, **settings.options}
        return create_optimizer(self, settings.name, **options)

    def on_train_start(self) -> None:
        """Log the learning rate after scaling by the global batch.

        Raises:
            ValueError: a callback has changed the batch since, as Lightning's ``BatchSizeFinder`` does.
        """
        if self._global_batch() != self._scaled_for:
            raise ValueError(
                f"the learning rate was scaled for a global batch of {self._scaled_for}, but that of the training is "
                f"{self._global_batch()}: a callback such as BatchSizeFinder changed it. Search beforehand, and train "
                "with the batch size that is found"
            )
        for logger in self.loggers:
            logger.log_hyperparams({"optimizer/scaled_lr": self.scaled_lr})

    def _global_batch(self) -> int:
        per_device = getattr(self.trainer.train_dataloader, "batch_size", None)
        if per_device is None:
            raise ValueError("the training dataloader has no batch_size to scale optimizer.base_lr with")
        if per_device < 2:
            raise ValueError(
                f"batch_size={per_device}: batch normalisation and the losses' statistics need at least 2 pictures "
                "on each device"
            )
        return int(per_device) * self.trainer.world_size * self.trainer.accumulate_grad_batches
