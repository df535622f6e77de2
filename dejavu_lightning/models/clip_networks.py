"""Build CLIP models by name, by open_clip's factory and tokenizers; mask tokens, and add noise to embeddings."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
import torch
from torch import Tensor, nn

SHIPPED = Path(__file__).parent / "open_clip"


def build_clip(
    name: str, pretrained: str | None = None, sigmoid: bool = False, **options: Any
) -> tuple[nn.Module, Any]:
    """Build an open_clip model and its tokenizer, a function from captions to tokens (B, L) int64.

    Args:
        name: of a model of open_clip, such as "ViT-B-32", with its ``hf-hub:`` and ``local-dir:`` forms; of one
            shipped here, "dejavu-tiny" or "dejavu-lite0"; or the path of a JSON config in open_clip's format.
        pretrained: one of the model's tags, or a file of weights; random weights if not given.
        sigmoid: also take models that are made for the sigmoid loss, not for CLIP's.
        options: more arguments of open_clip's ``create_model``.

    Raises:
        ValueError: there is no such model; the message suggests the nearest names.
    """
    known = open_clip_name(name)
    # The towers' own weights would be fetched from the network where a config names them.
    towers = {"pretrained_image": False, "pretrained_text": False}
    model: nn.Module = open_clip.create_model(known, pretrained=pretrained, **{**towers, **options})
    if not sigmoid and getattr(model, "logit_bias", None) is not None:
        raise ValueError(f"CLIP model {name!r} has a logit bias: it is made for the sigmoid loss; set loss=siglip")
    return model, open_clip.get_tokenizer(known)


def open_clip_name(name: str) -> str:
    """Find the name by which open_clip knows the model, see :func:`build_clip`.

    Raises:
        ValueError: there is no such model; the message suggests the nearest names.
    """
    known = _with_config(name)
    if ":" not in known and known not in open_clip.list_models():
        close = difflib.get_close_matches(known, open_clip.list_models(), n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(f"unknown CLIP model {name!r}{hint} Choose a name that open_clip lists, or a JSON config")
    return known


def _with_config(name: str) -> str:
    """Tell open_clip of the model's JSON config, if it has its own."""
    shipped = SHIPPED / f"{name}.json"
    path = shipped if shipped.is_file() else Path(name)
    if path.suffix != ".json":
        return name
    if not path.is_file():
        raise ValueError(f"there is no CLIP config {name!r}")
    if path.stem not in open_clip.list_models() or open_clip.get_model_config(path.stem) != json.loads(
        path.read_text()
    ):
        open_clip.add_model_config(path)
    return path.stem


class TokenKinds(NamedTuple):
    """The special tokens of a tokenizer, for masking.

    Attributes:
        kept: ids that are never masked.
        end: the id that ends a caption, everything behind it is padding.
        mask: the id that masked tokens become.
    """

    kept: tuple[int, ...]
    end: int | None
    mask: int


def token_kinds(tokenizer: Any) -> TokenKinds:
    """Find the special tokens of a tokenizer of open_clip; CLIP's own has no mask token, its padding (id 0) serves."""
    if hasattr(tokenizer, "eot_token_id"):
        return TokenKinds((tokenizer.sot_token_id, tokenizer.eot_token_id), tokenizer.eot_token_id, 0)
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None or not getattr(inner, "all_special_ids", None):
        raise ValueError(f"text masking does not know the special tokens of {type(tokenizer).__name__}")
    mask = inner.mask_token_id if inner.mask_token_id is not None else inner.pad_token_id
    return TokenKinds(tuple(inner.all_special_ids), None, int(mask or 0))


def mask_tokens(tokens: Tensor, fraction: float, kinds: TokenKinds) -> Tensor:
    """Mask each token of each caption with probability ``fraction``; never start, end or padding.

    A mitigation of Jayaraman et al. (2024, arXiv 2402.02103, section 5).

    Args:
        tokens: (B, L) int64.
        fraction: in [0, 1].
        kinds: see :func:`token_kinds`.

    Returns:
        (B, L); ``tokens`` itself is left alone.
    """
    inside = ~torch.isin(tokens, torch.tensor(kinds.kept, device=tokens.device))
    if kinds.end is not None:
        inside &= (tokens == kinds.end).cumsum(dim=1) == 0
    chosen = torch.rand(tokens.shape, device=tokens.device) < fraction
    return tokens.masked_fill(inside & chosen, kinds.mask)


def add_noise(embeddings: Tensor, deviation: float) -> Tensor:
    """Add Gaussian noise of mean 0 to each coordinate of embeddings.

    After Wang et al. (2025, arXiv 2502.07830), who mitigate memorization in the text domain; amount and place are our
    choice. The sum is not normalised again: the cosine of a caption with any one picture changes by noise of just this
    deviation, however many coordinates there are.

    Args:
        embeddings: (B, D) unit vectors.
        deviation: standard deviation, 0 or more.

    Returns:
        (B, D).
    """
    return embeddings + deviation * torch.randn_like(embeddings)
