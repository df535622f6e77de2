"""Load weights of torchvision's models: published ones, or those of a file."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models import get_model_weights

from dejavu_lightning.core.torch_file import read_torch_file


def chosen_weights(
    name: str, labels: Sequence[str] | None, weights: str | None, classes: str
) -> tuple[dict[str, Tensor], str]:
    """Read the state dict of a file, or the one that torchvision publishes, downloaded once.

    Args:
        name: of torchvision's model.
        labels: names of the classes of ``weights``.
        weights: the file.
        classes: whose classes the published weights have.

    Returns:
        The state dict, and what errors call it.

    Raises:
        FileNotFoundError, ValueError: as ``read_torch_file`` raises them, the file holds something else, or labels
            are given for published weights.
    """
    if weights is None:
        if labels is not None:
            raise ValueError(
                f"labels name the classes of weights; {name!r} has published weights for {classes} classes"
            )
        published = get_model_weights(name).DEFAULT
        return published.get_state_dict(progress=True, check_hash=True, weights_only=True), str(published)
    state = read_torch_file(weights)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"weights={weights!r} must hold a state dict, tensors by name and nothing else")
    return state, f"weights={weights!r}"


def load_weights(model: nn.Module, state: dict[str, Tensor], origin: str, what: str) -> None:
    """Load weights into a model.

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
