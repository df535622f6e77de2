"""Load a model that a Python function of the user builds."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.pretrained.pretrained_model import LoadedModel, PretrainedModel
from dejavu_lightning.pretrained.state_dicts import StateDicts


class CallableModel(PretrainedModel):
    """A model that ``module:callable`` returns, optionally with the weights of a file.

    Args:
        build: an importable module and a function or class in it, such as "hubconf:resnet50w2".
        options: its arguments.
        encode: what of the module gives embeddings, a dotted attribute path such as "backbone"; the module's own
            ``encode``, or the module itself, if not given.
        file: weights for the module, see :class:`~dejavu_lightning.pretrained.weights_file.WeightsFile`.
        entry, prefix, leave_out: where they are in the file; likewise.
        preprocessing: that the model was trained with; the data's if not given.

    Raises:
        ValueError: there is no such callable, it returns no module, or keys do not match.

    Example:
        >>> import torch
        >>> model = CallableModel("dejavu_lightning.models:small_resnet", options={"widths": (4, 8)}).load()
        >>> model.module(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        build: str,
        options: Mapping[str, Any] | None = None,
        encode: str | None = None,
        file: str | None = None,
        entry: str | None = None,
        prefix: str = "",
        leave_out: Sequence[str] = (),
        preprocessing: Preprocessing | None = None,
    ) -> None:
        if file is None and (entry is not None or prefix or leave_out):
            raise ValueError("entry, prefix and leave_out are of a file of weights, and file is not given")
        self.build, self.options, self.encode = build, dict(options or {}), encode
        self.file, self.entry, self.prefix, self.leave_out = file, entry, prefix, list(leave_out)
        self.preprocessing = preprocessing

    def load(self) -> LoadedModel:
        """Call the callable and load the weights of the file into its module."""
        module = self._found()(**self.options)
        if not isinstance(module, nn.Module):
            raise ValueError(f"build={self.build!r} returned a {type(module).__name__}, expected an nn.Module")
        if self.file is not None:
            StateDicts(self.file, self.entry).load(module, self.prefix, self.leave_out)
        return LoadedModel(self.build, module, self.encode, self.preprocessing)

    def _found(self) -> Any:
        where, colon, name = self.build.partition(":")
        if not (where and colon and name):
            raise ValueError(f"build must be 'module:callable', got {self.build!r}")
        try:
            found = getattr(importlib.import_module(where), name, None)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"build={self.build!r}: {error}; the folder that holds it must be installed or in PYTHONPATH"
            ) from error
        if not callable(found):
            raise ValueError(f"build={self.build!r}: {where} has no callable {name!r}")
        return found
