"""Load CLIP models of open_clip, by name and tag, or from a checkpoint of its training script."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.torch_file import nothing_unpickled
from dejavu_lightning.pretrained.pretrained_model import LoadedModel, PretrainedModel
from dejavu_lightning.pretrained.state_dicts import StateDicts

SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


class OpenClipModel(PretrainedModel):
    """A CLIP model of open_clip.

    Args:
        name: see :func:`~dejavu_lightning.models.clip_networks.build_clip`, such as "ViT-B-32" or "hf-hub:owner/name".
        pretrained: a tag of the model, whose weights are downloaded once; or a file: weights, or a checkpoint of
            open_clip's training, with ``module.`` before its keys or without. Random weights if not given.
        options: more arguments of open_clip's ``create_model``.
        entry, prefix, leave_out: where the weights are in the file, see
            :class:`~dejavu_lightning.pretrained.weights_file.WeightsFile`.
        preprocessing: other than the model's own.

    Raises:
        FileNotFoundError, ValueError: there is no such model, tag or file, or keys do not match; the message suggests
            entry, prefix and leave_out that would.

    Example:
        >>> model = OpenClipModel("dejavu-tiny").load()  # random weights
        >>> model.module.encode_text(["a cat", "a dog"]).shape, model.preprocessing.image_size
        (torch.Size([2, 128]), 48)
    """

    def __init__(
        self,
        name: str,
        pretrained: str | None = None,
        options: Mapping[str, Any] | None = None,
        entry: str | None = None,
        prefix: str = "",
        leave_out: Sequence[str] = (),
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.name, self.pretrained, self.options = name, pretrained, dict(options or {})
        self.entry, self.prefix, self.leave_out = entry, prefix, list(leave_out)
        self.preprocessing = preprocessing

    def load(self) -> LoadedModel:
        """Load the model and its tokenizer, as :class:`ClipEncoder`."""
        import open_clip  # here, since it takes seconds, and the command line lists this class whatever is measured

        from dejavu_lightning.models.clip_networks import build_clip, open_clip_name

        pretrained = self.pretrained
        is_file = pretrained is not None and (Path(pretrained).exists() or Path(pretrained).suffix in SUFFIXES)
        if not is_file and (self.entry is not None or self.prefix or self.leave_out):
            raise ValueError(
                f"entry, prefix and leave_out are of a file of weights, and pretrained={pretrained!r} is none"
            )
        if pretrained is not None and not is_file:
            tags = open_clip.list_pretrained_tags_by_model(open_clip_name(self.name))
            if pretrained not in tags:
                raise ValueError(
                    f"open_clip's {self.name} has no pretrained={pretrained!r}, and there is no such file; its tags: "
                    f"{', '.join(tags) or 'none'}"
                )
        name = f"{self.name} {pretrained}" if pretrained else self.name
        # What a folder or the hub holds comes with weights; without them open_clip would take random ones.
        required = not is_file and (pretrained is not None or ":" in self.name)
        options = {"require_pretrained": required, **self.options}
        try:
            with nothing_unpickled(f"open_clip {self.name}"), _random_for_now() if is_file else nullcontext():
                model, tokenizer = build_clip(self.name, None if is_file else pretrained, sigmoid=True, **options)
        except RuntimeError as error:
            raise ValueError(f"open_clip cannot give {name}: {error}") from error
        if pretrained is not None and is_file:
            StateDicts(pretrained, self.entry).load(model, self.prefix, self.leave_out)
        tower: Any = model.visual
        shown = tower.preprocess_cfg
        size = shown["size"]
        own = Preprocessing(
            size[0] if isinstance(size, Sequence) else size,
            tuple(shown["mean"]),
            tuple(shown["std"]),
            interpolation=shown["interpolation"],
            resize_mode=shown["resize_mode"],
        )
        return LoadedModel(f"open_clip {name}", ClipEncoder(model, tokenizer), preprocessing=self.preprocessing or own)


@contextmanager
def _random_for_now() -> Iterator[None]:
    """Silence open_clip's warning of random weights, which those of a file replace."""

    def told(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("No pretrained weights loaded")

    root = logging.getLogger()
    root.addFilter(told)
    try:
        yield
    finally:
        root.removeFilter(told)


class ClipEncoder(nn.Module):
    """A CLIP model that takes captions as strings; called, it embeds images.

    Args:
        model: of open_clip.
        tokenizer: from captions to tokens (B, L).
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer

    def forward(self, images: Tensor) -> Tensor:
        """Embed images, see :meth:`encode_image`."""
        return self.encode_image(images)

    def encode_image(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) normalised -> unit vectors (B, D)."""
        return nn.functional.normalize(self.model.encode_image(images), dim=1)

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """B captions -> unit vectors (B, D)."""
        tokens = self.tokenizer(list(captions)).to(next(self.model.parameters()).device)
        return nn.functional.normalize(self.model.encode_text(tokens), dim=1)
