"""Load models that are programs in a file: TorchScript and torch.export."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dejavu_lightning.core.checkpoint_folder import explain_folder
from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.torch_file import nothing_unpickled
from dejavu_lightning.pretrained.pretrained_model import LoadedModel, PretrainedModel

MODE_ARGUMENT = {"batch_norm": 5, "dropout": 2}  # the place of "training" among the arguments of these operators


class TorchScriptFile(PretrainedModel):
    """A TorchScript program from images (B, 3, H, W) to embeddings (B, D).

    No Python is run, but TorchScript is a program of torch operators: evaluate only files you would run.

    Args:
        file: of ``torch.jit.save``.
        preprocessing: that the model was trained with; the data's if not given.

    Raises:
        FileNotFoundError, ValueError: there is no such file, it is no TorchScript, or one traced in training mode.

    Example:
        >>> import torch
        >>> torch.jit.save(torch.jit.script(torch.nn.Flatten()), "pixels.pt")
        >>> TorchScriptFile("pixels.pt").load().module(torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 48])
    """

    def __init__(self, file: str, preprocessing: Preprocessing | None = None) -> None:
        self.file, self.preprocessing = file, preprocessing

    def load(self) -> LoadedModel:
        """Load the program."""
        _must_exist(self.file)
        try:
            program = torch.jit.load(self.file, map_location="cpu")  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ValueError(
                f"{self.file} is no TorchScript file, as torch.jit.save writes it. Weights alone are for WeightsFile"
            ) from error
        _refuse_training_mode([name for name, training in fixed_modes(program) if training], self.file, "traced")
        module = program if hasattr(program, "training") else FrozenModule(program)
        return LoadedModel(f"TorchScript {Path(self.file).name}", module, preprocessing=self.preprocessing)


class FrozenModule(nn.Module):
    """A frozen TorchScript program, which has no modes and stays on the CPU, where its constants are."""

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.hidden = (program,)  # as a child it would be asked for its mode

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) normalised -> whatever the program gives."""
        embedded: Tensor = self.hidden[0](images)
        return embedded


class ExportedFile(PretrainedModel):
    """A program of ``torch.export`` from images (B, 3, H, W) to embeddings (B, D).

    Args:
        file: of ``torch.export.save``, ending in ``.pt2``.
        preprocessing: that the model was trained with; the data's if not given.

    Raises:
        FileNotFoundError, ValueError: there is no such file, it is no exported program, one with compiled code, or one
            exported in training mode.

    Example:
        >>> import torch
        >>> torch.export.save(torch.export.export(torch.nn.Flatten(), (torch.zeros(2, 3, 4, 4),)), "pixels.pt2")
        >>> ExportedFile("pixels.pt2").load().module(torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 48])
    """

    def __init__(self, file: str, preprocessing: Preprocessing | None = None) -> None:
        self.file, self.preprocessing = file, preprocessing

    def load(self) -> LoadedModel:
        """Load the program, as :class:`ExportedModule`."""
        _must_exist(self.file)
        names = zipfile.ZipFile(self.file).namelist() if zipfile.is_zipfile(self.file) else []
        if not any("/models/" in name or name.endswith("serialized_exported_program.json") for name in names):
            raise ValueError(f"{self.file} is no exported program, as torch.export.save writes it")
        if any("/aotinductor/" in name for name in names):
            raise ValueError(f"{self.file} holds compiled code, which is refused; save it by torch.export.save")
        try:
            with nothing_unpickled(self.file):
                program = torch.export.load(self.file)
        except ValueError:
            raise
        except Exception as error:  # whatever its parser trips over
            reason = str(error).partition("\n")[0]
            raise ValueError(f"{self.file}: its program cannot be loaded ({reason})") from error
        module = ExportedModule(program, self.file)
        _refuse_training_mode([name for name, training in fixed_modes(module) if training], self.file, "exported")
        return LoadedModel(f"exported {Path(self.file).name}", module, preprocessing=self.preprocessing)


class ExportedModule(nn.Module):
    """An exported program as a module that can be put into evaluation mode, where it was exported.

    Args:
        program: from images (B, 3, H, W).
        origin: what errors call it.
    """

    def __init__(self, program: torch.export.ExportedProgram, origin: str) -> None:
        super().__init__()
        self.program, self.origin = program.module(), origin
        images = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
        if len(images) != 1:
            raise ValueError(f"{origin} takes {len(images)} inputs, expected one, the images")
        self.expected: tuple[Any, ...] = tuple(images[0].meta["val"].shape)

    def train(self, mode: bool = True) -> ExportedModule:
        """Do nothing: an exported program has one mode only, and its graph refuses to be asked."""
        return self

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) normalised -> whatever was exported."""
        if len(self.expected) != images.ndim or any(
            isinstance(side, int) and side != given for side, given in zip(self.expected, images.shape, strict=True)
        ):
            shape = tuple(side if isinstance(side, int) else "any" for side in self.expected)
            raise ValueError(
                f"{self.origin} was exported for images of shape {shape}, got {tuple(images.shape)}. Sides follow "
                "from preprocessing, the first number from batch_size of the test; or export it with a dynamic batch"
            )
        embedded: Tensor = self.program(images)
        return embedded


def is_program(module: nn.Module) -> bool:
    """Whether a network is a program of a file, which is compiled as it is, for images as they lie in memory."""
    return isinstance(module, (torch.jit.ScriptModule, FrozenModule, ExportedModule))


def fixed_modes(module: nn.Module) -> list[tuple[str, bool]]:
    """Find the layers of a program whose mode was written into it, as tracing and exporting do.

    Args:
        module: a network, program or not.

    Returns:
        For each layer that trains otherwise than it evaluates, "batch_norm" or "dropout", and whether it is in training
        mode, whatever mode the module is in. Empty for other networks, and for scripted programs.
    """
    if isinstance(module, ExportedModule):
        calls = [(str(node.target), node.args) for node in module.program.graph.nodes if node.op == "call_function"]
    else:
        graph: Any = getattr(module, "inlined_graph", None)
        kinds = [] if graph is None else [f"aten::{name}" for name in MODE_ARGUMENT]
        calls = [
            (kind, [value.toIValue() for value in node.inputs()]) for kind in kinds for node in graph.findAllNodes(kind)
        ]
    return [
        (name, arguments[place])
        for called, arguments in calls
        for name, place in MODE_ARGUMENT.items()
        if name in called and len(arguments) > place and isinstance(arguments[place], bool)
    ]


def _refuse_training_mode(layers: Sequence[str], file: str, written: str) -> None:
    if layers:
        raise ValueError(
            f"{file} was {written} in training mode, which its {', '.join(sorted(set(layers)))} cannot leave: an "
            f"embedding would depend on chance and on its batch; call eval() before it is {written}"
        )


def _must_exist(file: str) -> None:
    if Path(file).is_dir():
        raise ValueError(explain_folder(Path(file)))
    if not Path(file).is_file():
        raise FileNotFoundError(f"there is no file {file}")
