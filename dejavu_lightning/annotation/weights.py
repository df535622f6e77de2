"""Weights of torchvision's models: those that it publishes, and those of one's own."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import get_model_weights

from dejavu_lightning.torch_file import read_torch_file

State = dict[str, Tensor]


def published_weights(name: str) -> tuple[State, str]:
    """The state dict that torchvision publishes for a model, downloaded once, and what errors call it."""
    published = get_model_weights(name).DEFAULT
    return published.get_state_dict(progress=True, check_hash=True, weights_only=True), str(published)


def read_weights(file: str) -> State:
    """A file's state dict.

    Raises:
        FileNotFoundError, ValueError: as ``read_torch_file`` raises them, or it holds something else.
    """
    state = read_torch_file(file)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"weights={file!r} must hold a state dict, tensors by name and nothing else")
    return state


def load_weights(model: nn.Module, state: State, origin: str, what: str) -> None:
    """Give a model its weights.

    Args:
        origin: what errors call the weights, ``what`` the model.

    Raises:
        ValueError: they do not fit; the message lists the keys.
    """
    wanted = model.state_dict()
    # Weights saved from frozen batch norms lack these counters, which evaluation does not use.
    counters = {key: value for key, value in wanted.items() if key.endswith(".num_batches_tracked")}
    state = {**{key: value for key, value in counters.items() if key not in state}, **state}
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in sorted(set(state) & set(wanted))
        if state[key].shape != wanted[key].shape
    ]
    missing, unexpected = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    wrong = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    if any(wrong.values()):
        listed = "; ".join(f"{kind}: {', '.join(keys)}" for kind, keys in wrong.items() if keys)
        raise ValueError(f"{origin} are not those of {what}: {listed}")
    model.load_state_dict(state)
