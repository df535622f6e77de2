"""Load a detector by its name."""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path

from dejavu_lightning.annotation.detection import Detector
from dejavu_lightning.annotation.torchvision_detector import DETECTORS, TorchvisionDetector
from dejavu_lightning.annotation.torchvision_tagger import TAGGERS, TorchvisionTagger
from dejavu_lightning.annotation.zero_shot_detector import ZeroShotDetector


def load_detector(
    name: str,
    labels: Sequence[str] | None = None,
    *,
    threshold: float = 0.3,
    weights: str | None = None,
    prompt: str = "{}",
    device: str = "cpu",
) -> Detector:
    """Load a detector or a tagger of torchvision by its name there, a zero-shot detector of transformers, or your own.

    Args:
        name: torchvision's of a detector or a classifier; a folder or ``owner/name`` of a transformers model; or
            ``module:function`` of a function of yours that takes labels, threshold, weights and device and returns one.
        labels: what a zero-shot detector looks for, or the classes of ``weights``.
        threshold: objects with higher scores are kept; in [0, 1).
        weights: a file for a torchvision model, instead of its published weights.
        prompt: how a zero-shot detector is asked for a label, with {} in its place.
        device: as torch names it.

    Raises:
        ValueError: the name is unknown, or an argument is not for this kind of detector.
        ImportError: transformers is needed and not installed.

    Returns:
        A function from pictures to their objects.

    Example:
        >>> load_detector("resnet51")
        Traceback (most recent call last):
        ValueError: unknown detector 'resnet51'; did you mean resnet...
    """
    if name in DETECTORS or name in TAGGERS:
        if prompt != "{}":
            raise ValueError(f"prompt={prompt!r} is for zero-shot detectors, {name!r} is torchvision's")
        kind = TorchvisionDetector if name in DETECTORS else TorchvisionTagger
        return kind(name, labels, threshold=threshold, weights=weights, device=device)
    if ":" in name:
        if prompt != "{}":
            raise ValueError(f"prompt={prompt!r} is for zero-shot detectors, {name!r} is your own")
        return _own_detector(name)(labels, threshold=threshold, weights=weights, device=device)
    if "/" not in name and not Path(name).is_dir():
        close = difflib.get_close_matches(name, [*DETECTORS, *TAGGERS], n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise ValueError(
            f"unknown detector {name!r}; {hint}It must be the folder or owner/name of a zero-shot detector, one of "
            f"torchvision's: {', '.join(DETECTORS)}, the name of a classifier of torchvision, or module:function"
        )
    if weights is not None:
        raise ValueError(f"weights={weights!r} is for torchvision's detectors, {name!r} has weights of its own")
    if not labels:
        raise ValueError(f"the zero-shot detector {name!r} needs labels to look for")
    return ZeroShotDetector(name, labels, threshold=threshold, prompt=prompt, device=device)


def _own_detector(name: str) -> Callable[..., Detector]:
    try:
        found: Callable[..., Detector] = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"detector {name!r} cannot be found: {error}. It must be module:function, the module in the current folder "
            "or in PYTHONPATH"
        ) from error
    return found
