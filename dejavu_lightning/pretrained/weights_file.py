"""Load a file of weights whose architecture the user names: author checkpoints, lightly's, solo-learn's, timm's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn
from torchvision.models.resnet import ResNet as TorchvisionResNet

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.pretrained.pretrained_model import LoadedModel, PretrainedModel
from dejavu_lightning.pretrained.projector import Activation, rebuild_projector
from dejavu_lightning.pretrained.state_dicts import StateDicts


class WeightsFile(PretrainedModel):
    """A backbone, and its projector if asked for, with the weights of a checkpoint.

    The file says nothing of preprocessing. Nothing in it is run: tensors and plain values are read, other objects
    refused.

    Args:
        file: of ``torch.save``, or ``.safetensors``.
        architecture: see :func:`~dejavu_lightning.models.backbones.build_backbone`, such as "torchvision/resnet50".
        options: more arguments of the architecture's constructor.
        entry: the state dict among several in the file, such as "teacher"; a dotted path for nested ones.
        prefix: of the backbone's keys, such as "module.backbone."; keys without it are other parts.
        leave_out: parts under that prefix which the backbone does not have, such as ["fc"].
        layout: "modules" for the library's own names; "children" for ``nn.Sequential(*resnet.children())`` without the
            last child, as in lightly's examples, where names are positions; "order" where other code names the same
            layers otherwise: tensors are taken one by one, and must be of the same kinds and shapes.
        projector_prefix: of the projector's keys, a Sequential of linear layers and batch norms; the embedding is the
            projector's output then, else the backbone's.
        activation: of the projector, "relu" or "gelu"; a file does not tell.
        normalize: scale the projector's output to length 1, as DINO's head does before its last layer.
        preprocessing: that the model was trained with; the data's if not given.

    Raises:
        FileNotFoundError, ValueError: no such file or architecture, or keys that do not match; the message lists them
            and suggests entry, prefix and leave_out that would.

    Example:
        >>> import torch
        >>> model = WeightsFile("weights.pth", "small_resnet", options={"widths": (4, 8)}).load()
        >>> model.name, model.module(torch.zeros(2, 3, 32, 32)).shape
        ('small_resnet of weights.pth', torch.Size([2, 8]))
    """

    def __init__(
        self,
        file: str,
        architecture: str,
        options: Mapping[str, Any] | None = None,
        entry: str | None = None,
        prefix: str = "",
        leave_out: Sequence[str] = (),
        layout: Literal["modules", "children", "order"] = "modules",
        projector_prefix: str | None = None,
        activation: Activation = "relu",
        normalize: bool = False,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        if normalize and projector_prefix is None:
            raise ValueError("normalize=True is for a projector, name it as projector_prefix")
        self.file, self.architecture, self.options = file, architecture, dict(options or {})
        self.entry, self.prefix, self.leave_out, self.layout = entry, prefix, list(leave_out), layout
        self.projector_prefix, self.activation, self.normalize = projector_prefix, activation, normalize
        self.preprocessing = preprocessing

    def load(self) -> LoadedModel:
        """Load the backbone, or backbone and projector."""
        from dejavu_lightning.models.backbones import build_backbone  # which imports timm, a second
        from dejavu_lightning.models.heads import Normalize

        backbone = build_backbone(self.architecture, **self.options)
        states = StateDicts(self.file, self.entry)
        states.load(self._named(backbone), self.prefix, self.leave_out, in_order=self.layout == "order")
        name = f"{self.architecture} of {Path(self.file).name}"
        if self.projector_prefix is None:
            return LoadedModel(name, backbone, preprocessing=self.preprocessing)
        origin = f"{self.file}, projector_prefix={self.projector_prefix!r}"
        weights = states.under(self.projector_prefix)
        if not weights:
            there = " or ".join(map(repr, states.sequentials(self.prefix))) or "none"
            raise ValueError(f"{origin}: there are no weights; prefixes of what may be a projector: {there}")
        projector = rebuild_projector(weights, self.activation, origin)
        states.load(projector, self.projector_prefix)
        if self.normalize:
            projector.append(Normalize())
        module = nn.Sequential(OrderedDict(backbone=backbone, projector=projector))
        return LoadedModel(f"{name} with projector", module, preprocessing=self.preprocessing)

    def _named(self, backbone: nn.Module) -> nn.Module:
        """Hold the backbone's layers by the names that they have in the file."""
        if self.layout != "children":
            return backbone
        from timm.models.resnet import ResNet as TimmResNet

        if not isinstance(backbone, TimmResNet | TorchvisionResNet):
            raise ValueError(
                f"layout='children' is for ResNets, whose children are run one after the other; {self.architecture!r} "
                f"is a {type(backbone).__name__}"
            )
        return nn.Sequential(*list(backbone.children())[:-1])
