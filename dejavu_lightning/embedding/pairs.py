"""Models of pictures and captions: their two encoders, and what each takes of a sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dejavu_lightning.embedding.embed import Reading
from dejavu_lightning.embedding.encoders import Encoder, EncodeSpec, ModuleEncoder
from dejavu_lightning.embedding.host_samples import describe, image_tensor


def encoder_part(encoder: Encoder, spec: EncodeSpec, method: str) -> Encoder:
    """Find one of the encoders in a model of pictures and captions.

    Args:
        encoder: of a module, or an object with methods ``encode_image`` and ``encode_text``.
        spec: where it is in a module.
        method: its name where ``encoder`` is no module.

    Raises:
        TypeError: an encoder that is no module lacks the method.
    """
    if isinstance(encoder, ModuleEncoder):
        return encoder.using(spec)
    if not hasattr(encoder, method):
        raise TypeError(
            f"tests of pictures and captions need an encoder with methods encode_image and encode_text, "
            f"{type(encoder).__name__} has no {method!r}; wrap a module in ModuleEncoder"
        )
    found: Encoder = getattr(encoder, method)
    return found


def check_parts(encoder: Encoder, *parts: Encoder) -> None:
    """Raise now what encoding would raise later.

    Raises:
        ValueError: ``encode`` of the model is given, which says nothing of two encoders, or a part is not there.
    """
    if isinstance(encoder, ModuleEncoder) and encoder.encode is not None:
        raise ValueError(
            f"encode={encoder.encode!r} is for tests of images alone; image= and text= of the test say what encodes "
            "pictures and captions"
        )
    for part in parts:
        if isinstance(part, ModuleEncoder):
            part.resolve()


def captioned_image(sample: Any, row: int, role: str) -> Reading:
    """Read the image of a captioned sample, and its objects where it has some."""
    return _read(sample, row, role, "image")


def caption(sample: Any, row: int, role: str) -> Reading:
    """Read the caption of a captioned sample, and its objects where it has some."""
    return _read(sample, row, role, "caption")


def _read(sample: Any, row: int, role: str, what: str) -> Reading:
    if not isinstance(sample, Mapping) or not {what, "id"} <= set(sample):
        keys = sorted(sample) if isinstance(sample, Mapping) else type(sample).__name__
        raise TypeError(
            f"sample {row} of the {role} set is {keys}; tests of pictures and captions expect a mapping with {what!r}, "
            "'id' and, of object retrieval, 'objects'"
        )
    facts = {key: [int(value) for value in sample[key]] for key in ("objects", "named") if key in sample}
    given = sample[what]
    if what == "caption":
        if not isinstance(given, str):
            raise TypeError(f"sample {row} of the {role} set has {describe(given)} for a caption; expected one text")
        return Reading(given, facts, str(sample["id"]))
    return Reading(image_tensor(given, row, role), facts, str(sample["id"]))
