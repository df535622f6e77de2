"""Load models that are programs in a file: TorchScript and torch.export."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dejavu_lightning.core.checkpoint_folder import explain_folder
from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.torch_file import nothing_unpickled
from dejavu_lightning.pretrained.pretrained_model import LoadedModel, PretrainedModel

# Operators that may train otherwise than they evaluate, and the place of the argument that says which.
MODE_ARGUMENT = {"batch_norm": 5, "dropout": 2, "rrelu": 3, "scaled_dot_product_attention": 4}


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
        module = program if hasattr(program, "training") else FrozenModule(program)
        _refuse_training_mode([name for name, training in fixed_modes(module) if training], self.file, "traced")
        return LoadedModel(f"TorchScript {Path(self.file).name}", module, preprocessing=self.preprocessing)


class FrozenModule(nn.Module):
    """A frozen TorchScript program, which has no modes and stays on the CPU, where its constants are."""

    def __init__(self, program: Any) -> None:
        super().__init__()
        self.hidden = (program,)  # as a child it would be asked for its mode

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) normalised, on any device -> whatever the program gives, there."""
        embedded: Tensor = self.hidden[0](images.to("cpu", torch.float32))
        return embedded.to(images)


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
    """Whether a network is, or wraps, a program of a file, which is neither compiled nor laid out anew."""
    return any(True for _ in _programs(module))


def fixed_modes(module: nn.Module) -> list[tuple[str, bool]]:
    """Find the layers of a program whose mode was written into it, as tracing and exporting do.

    Args:
        module: a network; it may be, or wrap, a program.

    Returns:
        For each layer that trains otherwise than it evaluates, such as "batch_norm" or "dropout", and whether it is in
        training mode, whatever mode the module is in. Empty for other networks, and for scripted programs.
    """
    found = []
    for program in _programs(module):
        for operator, arguments in _calls(program):
            name = operator.removeprefix("aten::").removeprefix("aten.").partition(".")[0]
            training = _in_training(name, arguments)
            if training is not None:
                found.append((name, training))
    return found


def _programs(module: nn.Module) -> Iterator[nn.Module]:
    """The programs in a network, each whole."""
    if isinstance(module, (torch.jit.ScriptModule, FrozenModule, ExportedModule)):
        yield module
    else:
        for child in module.children():
            yield from _programs(child)


def _calls(program: Any) -> Iterator[tuple[str, list[Any]]]:
    """Operators of a program with their arguments in order; of TorchScript, its values where they are no constants."""
    if isinstance(program, ExportedModule):
        for call in program.program.graph.nodes:
            if call.op == "call_function":
                yield str(call.target), [*call.args, *call.kwargs.values()]
        return
    graph = getattr(program.hidden[0] if isinstance(program, FrozenModule) else program, "inlined_graph", None)
    # Nodes inside of branches are left out: what a scripted program does in training mode alone is in one.
    for node in () if graph is None else graph.nodes():
        values = (value.toIValue() if value.node().kind() == "prim::Constant" else value for value in node.inputs())
        yield node.kind(), list(values)


def _in_training(name: str, arguments: Sequence[Any]) -> bool | None:
    """The mode that an operator of torch was written in; None where it has none, or not of itself."""
    if name.endswith("no_training"):
        return False
    if name.startswith(("bernoulli", "rand")):  # such as of stochastic depth, which evaluates without it
        return True
    place = next((place for known, place in MODE_ARGUMENT.items() if known in name), None)
    if place is None or len(arguments) <= place:
        return None
    mode = arguments[place]
    if name == "scaled_dot_product_attention":
        return True if isinstance(mode, float) and mode > 0 else None
    # Without running statistics, or with nothing to drop, both modes are the same.
    same = arguments[3] is None if "batch_norm" in name else "dropout" in name and arguments[1] == 0
    return None if same or not isinstance(mode, bool) else mode


def _refuse_training_mode(layers: Sequence[str], file: str, written: str) -> None:
    if layers:
        raise ValueError(
            f"{file} was {written} in training mode, which its {', '.join(sorted(set(layers)))} cannot leave: an "
            f"embedding would depend on chance or on its batch; call eval() before it is {written}"
        )


def _must_exist(file: str) -> None:
    if Path(file).is_dir():
        raise ValueError(explain_folder(Path(file)))
    if not Path(file).is_file():
        raise FileNotFoundError(f"there is no file {file}")
