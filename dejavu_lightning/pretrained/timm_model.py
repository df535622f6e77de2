"""Load models of timm, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.torch_file import nothing_unpickled
from dejavu_lightning.pretrained.pretrained_model import LoadedModel, PretrainedModel


class TimmModel(PretrainedModel):
    """A model of timm without its classifier.

    Args:
        name: as timm lists it, with or without a tag: "resnet50", "vit_small_patch16_224.dino".
        pretrained: take the published weights, which are downloaded once; random ones otherwise.
        options: more arguments of ``timm.create_model``, such as ``img_size``.
        preprocessing: other than the model's own.

    Raises:
        ValueError: there is no such model, tag or download, where the message suggests names, or no such option.

    Example:
        >>> import torch
        >>> model = TimmModel("test_vit").load()  # random weights
        >>> print(model.preprocessing)
        160 pixels, bicubic, mean 0.5, 0.5, 0.5, std 0.5, 0.5, 0.5
        >>> model.module(torch.zeros(2, 3, 160, 160)).shape
        torch.Size([2, 64])
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = False,
        options: Mapping[str, Any] | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.name, self.pretrained, self.options = name, pretrained, dict(options or {})
        self.preprocessing = preprocessing

    def load(self) -> LoadedModel:
        """Load the model, its features pooled; (B, 3, H, W) -> (B, F)."""
        import timm  # here, since it takes a second, and the command line lists this class whatever is measured

        from dejavu_lightning.models.backbones import build_backbone

        try:
            with nothing_unpickled(f"timm {self.name}"):
                network = build_backbone(self.name, pretrained=self.pretrained, **self.options)
        except TypeError as error:
            raise ValueError(f"timm's {self.name!r} does not take the options {self.options}: {error}") from error
        except (RuntimeError, OSError) as error:
            known = timm.list_pretrained(f"{self.name.partition('.')[0]}.*")
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"timm cannot give {self.name!r}: {reason} Its published weights: {', '.join(known) or 'none'}"
            ) from error
        return LoadedModel(f"timm {self.name}", network, preprocessing=self.preprocessing or self._own(network))

    def _own(self, network: Any) -> Preprocessing | None:
        if not hasattr(network, "pretrained_cfg"):
            return None
        from timm.data.config import resolve_model_data_config

        config = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
        return Preprocessing(
            image_size=self.options.get("img_size", config["input_size"][-1]),
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            interpolation=config["interpolation"],
        )
