"""What the tests need of a model: images or captions in, embeddings out, and the model left as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.func import functional_call

from dejavu_lightning.core.distributed import copy_first
from dejavu_lightning.embedding.kept import KeptEmbeddings, tensors_hash
from dejavu_lightning.embedding.weight_names import under_own_names


@runtime_checkable
class Encoder(Protocol):
    """Maps a batch of B images (B, ...), or of B captions as a list, to embeddings (B, D). Any callable will do.

    Example:
        >>> from torch import nn
        >>> isinstance(nn.Flatten(), Encoder), isinstance(lambda images: images.flatten(1), Encoder)
        (True, True)
    """

    def __call__(self, inputs: Any) -> Tensor: ...


PLAIN = ("encode", "backbone", "encode_image")  # what encodes pictures in most people's LightningModules
EncodeSpec = str | Callable[[nn.Module, Any], Tensor] | None


class ModuleEncoder:
    """Make embeddings with a module, one of its methods or parts, or a function of it.

    Args:
        module: any ``nn.Module``, such as a LightningModule.
        encode: None for a LightningModule's own ``encode``, ``backbone`` or ``encode_image``, the first that it has,
            and another module's ``encode``, or itself if it has none; a dotted attribute path such as
            ``"student.forward_features"``; or a function ``(module, inputs) -> embeddings``.
        weights: other weights for the module, which itself keeps its own; see :meth:`with_weights`.
        kept: keeps what one process embeds, and spares it the next time.

    Raises:
        ValueError: once it encodes, the module has nothing of that name.

    Example:
        >>> import torch
        >>> network = torch.nn.ModuleDict({"student": torch.nn.Flatten()})
        >>> ModuleEncoder(network, encode="student")(torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 48])
        >>> ModuleEncoder(network, lambda module, images: module["student"](images) / 255)(torch.zeros(2, 3)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        module: nn.Module,
        encode: EncodeSpec = None,
        weights: Mapping[str, Tensor] | None = None,
        kept: KeptEmbeddings | None = None,
    ) -> None:
        self.module, self.encode, self.weights, self.kept = module, encode, weights, kept
        floating = [p for p in module.parameters() if p.is_floating_point()]
        self.dtype = floating[0].dtype if floating else torch.float32
        self.device = floating[0].device if floating else torch.device("cpu")

    def __call__(self, inputs: Any) -> Tensor:
        if isinstance(inputs, Tensor):
            inputs = inputs.to(self.device, self.dtype)
        if self.weights is None:
            return self.resolve()(inputs)
        # Weights that are tied have an entry under each of their names.
        found: Tensor = functional_call(_Encode(self), dict(self.weights), (inputs,), tie_weights=False)
        return found

    def using(self, encode: EncodeSpec) -> ModuleEncoder:
        """The same module and weights, encoding in another way."""
        return ModuleEncoder(self.module, encode, self.weights, self.kept)

    def load(self, weights: Mapping[str, Tensor], origin: str) -> None:
        """Give the module these weights; arguments and errors as in :meth:`with_weights`."""
        self.module.load_state_dict(self._checked(weights, origin))

    def with_weights(self, weights: Mapping[str, Tensor], origin: str) -> ModuleEncoder:
        """The same architecture with other weights; the module itself keeps its own.

        Args:
            weights: a state dict; what DDP, torch.compile or an average of weights adds to names is no difference.
            origin: what errors call the weights, such as their file.

        Raises:
            ValueError: the weights do not fit; the message lists the keys.
        """
        own = self.module.state_dict()
        checked = self._checked(weights, origin)
        fitting = {name: value.to(own[name]) for name, value in checked.items() if isinstance(value, Tensor)}
        kept = self.kept and self.kept.with_provenance(weights=tensors_hash(fitting))
        placed = {f"module.{name}": value for name, value in fitting.items()}
        return ModuleEncoder(self.module, self.encode, placed, kept)

    @property
    def path(self) -> str | None:
        """The attribute that encodes; None where a function does, or a module itself."""
        if callable(self.encode):
            return None
        if self.encode is None and not any(hasattr(self.module, name) for name in (PLAIN[0], "training_step")):
            return None
        return self.encode or next((name for name in PLAIN if hasattr(self.module, name)), PLAIN[0])

    def resolve(self) -> Callable[[Any], Tensor]:
        """What ``encode`` stands for.

        Raises:
            ValueError: the module has no such attribute; the message names the three ways to say it.
        """
        if callable(self.encode):
            function, module = self.encode, self.module
            return lambda inputs: function(module, inputs)
        path = self.path
        if path is None:
            return self.module
        try:
            found: Callable[[Any], Tensor] = attrgetter(path)(self.module)
        except AttributeError as error:
            raise ValueError(
                f"{type(self.module).__name__} has no {path!r} to encode with ({error}). Give it a method "
                f"{path.rpartition('.')[2]}(inputs) -> embeddings, or say where it is: a dotted attribute path of it "
                "such as 'backbone', or a function (module, inputs) -> embeddings"
            ) from None
        if not callable(found):
            raise ValueError(
                f"encode={path!r} of {type(self.module).__name__} is a {type(found).__name__}, not callable"
            )
        return found

    def _checked(self, weights: Mapping[str, Tensor], origin: str) -> Mapping[str, Tensor]:
        own = self.module.state_dict()
        weights = under_own_names(own, weights)
        problems = mismatch(own, weights)
        if problems:
            raise ValueError(
                f"{origin}: its weights do not fit {type(self.module).__name__} ({problems}). Build the model with the "
                "backbone and projector settings that the checkpoint was trained with"
            )
        return weights


def mismatch(own: Mapping[str, Any], weights: Mapping[str, Any]) -> str:
    """How weights differ from a module's own state, key by key; "" if they fit."""
    problems = {
        "missing": sorted(set(own) - set(weights)),
        "unexpected": sorted(set(weights) - set(own)),
        "of another shape": [
            f"{name} {_shape(weights[name])} for {tuple(own[name].shape)}"
            for name in sorted(set(own) & set(weights))
            if isinstance(own[name], Tensor) and getattr(weights[name], "shape", None) != own[name].shape
        ],
    }
    return "; ".join(
        f"{len(keys)} {what}: {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}"
        for what, keys in problems.items()
        if keys
    )


def _shape(weight: Any) -> str:
    return str(tuple(weight.shape)) if isinstance(weight, Tensor) else f"a {type(weight).__name__}, no tensor,"


class _Encode(nn.Module):
    """Gives an encoder the form that ``functional_call`` takes."""

    def __init__(self, encoder: ModuleEncoder) -> None:
        super().__init__()
        self.module, self.encoder = encoder.module, encoder

    def forward(self, inputs: Any) -> Tensor:
        return self.encoder.resolve()(inputs)


@contextmanager
def preserve_state(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, nothing compiled; afterwards modes, buffers and random streams are as they were.

    Training that is interrupted by such a block continues bitwise as if it had not been. Meanwhile all processes have
    the buffers of the first, which a checkpoint holds: running statistics differ between them.
    """
    training = {name: part.training for name, part in module.named_modules()}
    buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
    try:
        # Compiling for the measurement's shapes would take longer than the measurement.
        with isolate_rng(), torch.no_grad(), torch.compiler.set_stance("force_eager"):
            module.eval()
            copy_first(module.buffers())
            yield
    finally:
        for name, part in module.named_modules():
            part.training = training.get(name, part.training)
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                if name in buffers:
                    buffer.copy_(buffers[name])
