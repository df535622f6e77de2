"""Begin training from a model that others trained, and leave parts of it as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.embedding.encoders import EncodeSpec, ModuleEncoder, mismatch
from dejavu_lightning.pretrained.open_clip_model import ClipEncoder
from dejavu_lightning.pretrained.pretrained_model import LoadedModel, PretrainedModel
from dejavu_lightning.pretrained.programs import fixed_modes


class Embedding(nn.Module):
    """A model that encodes in a way of its own, as a module that is called.

    Args:
        model: with its weights.
        encode: as in :class:`~dejavu_lightning.embedding.encoders.ModuleEncoder`.
    """

    def __init__(self, model: nn.Module, encode: EncodeSpec) -> None:
        super().__init__()
        self.model, self.encode = model, encode

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) normalised -> features (B, F)."""
        return ModuleEncoder(self.model, self.encode)(images).flatten(1)


def load_initial(init: PretrainedModel) -> LoadedModel:
    """Load the model that training begins from.

    Raises:
        FileNotFoundError: its file is not there; it is also read where a checkpoint of the training is measured.
    """
    try:
        return init.load()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"model.init: {error}. The network is built from it, also to measure a checkpoint of the training"
        ) from error


def initial_parts(loaded: LoadedModel) -> tuple[nn.Module, nn.Sequential | None]:
    """The backbone of a loaded model, and its projector if it has one."""
    module: Any = loaded.module
    if isinstance(module, ClipEncoder):
        tower: nn.Module = module.model.visual
        return tower, None
    projector = getattr(module, "projector", None)
    if isinstance(projector, nn.Sequential) and isinstance(getattr(module, "backbone", None), nn.Module):
        return module.backbone, projector
    if loaded.encode is not None or hasattr(module, "encode"):
        return Embedding(module, loaded.encode), None
    return module, None


def check_learns(part: nn.Module, name: str) -> None:
    """Refuse a network without weights that could be trained, and say which layers of a program keep their mode.

    Args:
        part: that is to be trained.
        name: of the model that it comes from.

    Raises:
        ValueError: it has no parameters.
    """
    if not any(True for _ in part.parameters()):
        raise ValueError(
            f"model.init: {name} has no weights to train, as a frozen program holds them as constants; set "
            "model.freeze=backbone to train the rest over it, or save it without torch.jit.freeze"
        )
    if kept := sorted({layer for layer, training in fixed_modes(part) if not training}):
        rank_zero_warn(
            f"model.init: {name} was written in evaluation mode, so its {' and '.join(kept)} stay in it while it is "
            "trained; a scripted program or a state dict has both modes"
        )


def freeze_unreached(network: nn.Module, image_size: int, name: str) -> None:
    """Freeze weights that features do not depend on, such as a mask token: DDP refuses to train them.

    Args:
        network: of others, from images (B, 3, H, W) to features; run once, in evaluation mode.
        image_size: side in pixels of the images.
        name: of the model that it comes from.

    Raises:
        ValueError: the features depend on no weights.
    """
    parameters, training = list(network.parameters()), network.training
    features = network.eval()(torch.zeros(1, 3, image_size, image_size))
    network.train(training)
    if not features.requires_grad:
        raise ValueError(
            f"model.init: {name} gives features without gradients, so it cannot be trained: set model.freeze=backbone"
        )
    gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)


def load_into(part: nn.Module, loaded: LoadedModel, where: str) -> None:
    """Give a part of a model the weights of a loaded one, which must be of its architecture.

    Raises:
        ValueError: they do not fit; the message lists the keys.
    """
    weights = loaded.module.state_dict()
    if problems := mismatch(part.state_dict(), weights):
        raise ValueError(
            f"model.init: the weights of {loaded.name} do not fit {where}, a {type(part).__name__} ({problems})"
        )
    part.load_state_dict(weights)


def check_preprocessing(expected: Preprocessing | None, data: Any, name: str) -> None:
    """Refuse pictures that are normalised in another way than those which initial weights were trained on.

    Raises:
        ValueError: the datamodule's mean or standard deviation are others.
    """
    given = getattr(data, "preprocessing", None)
    if expected is None or not isinstance(given, Preprocessing):
        return
    wrong = [
        f"data.{key}: {tuple(getattr(given, key))} instead of {tuple(getattr(expected, key))}"
        for key in ("mean", "std")
        if tuple(getattr(given, key)) != tuple(getattr(expected, key))
    ]
    if wrong:
        raise ValueError(f"the weights of {name} were trained with another preprocessing ({', '.join(wrong)})")


def freeze_parts(module: nn.Module, names: Sequence[str]) -> None:
    """Leave parts of a module as they are: no gradients, and evaluation mode, so that running statistics stay too.

    Args:
        module: whose ``train`` calls :func:`keep_frozen` with the same names.
        names: dotted paths of the parts, or of single weights.

    Raises:
        ValueError: there is no such part, or nothing is left to train.
    """
    for name in names:
        part = _part(module, name)
        if part is None:
            listed = ", ".join(child for child, _ in module.named_children())
            raise ValueError(f"freeze={name!r} is no part of {type(module).__name__}, which has {listed}")
        if isinstance(part, nn.Module):
            set_trainable(part, False)
            part.eval()
        else:
            part.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ValueError(f"freeze={list(names)} leaves nothing to train")


def set_trainable(module: nn.Module, trainable: bool) -> None:
    """Let a module's parameters have gradients, or not; also those of TorchScript, which refuses ``requires_grad_``."""
    for parameter in module.parameters():
        parameter.requires_grad_(trainable)


def keep_frozen(module: nn.Module, names: Sequence[str]) -> None:
    """Put the named parts of a module that is in training mode back into evaluation mode."""
    for name in names:
        part = _part(module, name)
        if isinstance(part, nn.Module):
            part.eval()


def _part(module: nn.Module, name: str) -> nn.Module | nn.Parameter | None:
    for find in (module.get_submodule, module.get_parameter) if name else ():
        try:
            return find(name)
        except AttributeError:
            continue
    return None
