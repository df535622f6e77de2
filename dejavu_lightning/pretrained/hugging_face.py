"""Load vision encoders of transformers, by folder or name."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from dejavu_lightning.core.preprocessing import Interpolation, Preprocessing
from dejavu_lightning.core.torch_file import nothing_unpickled
from dejavu_lightning.pretrained.pretrained_model import LoadedModel, PretrainedModel

RESAMPLING: dict[int, Interpolation] = {2: "bilinear", 3: "bicubic"}  # numbers of PIL


class HuggingFaceModel(PretrainedModel):
    """A model that transformers' ``AutoModel`` loads, with the preprocessing of its ``AutoImageProcessor``.

    Code that comes with a model is not run.

    Args:
        name: a folder or ``owner/name`` on the hub.
        embedding: "first_token" of the last layer, which is the class token of a ViT; "mean_token", of all tokens; or
            "pooler", the model's own ``pooler_output``, for convolutional networks.
        preprocessing: other than the model's own.

    Raises:
        ImportError: transformers is not installed.
        ValueError: there is no such model, or the file lacks weights that the embedding needs.

    Example:
        The weights are downloaded once.

        .. code-block:: python

            loaded = HuggingFaceModel("facebook/dinov2-small").load()
            embeddings = loaded.encode(loaded.module, images)  # (B, 3, 224, 224) -> (B, 384)
    """

    def __init__(
        self,
        name: str,
        embedding: Literal["first_token", "mean_token", "pooler"] = "first_token",
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.name, self.embedding, self.preprocessing = name, embedding, preprocessing

    def load(self) -> LoadedModel:
        """Load the model; its embeddings are (B, D)."""
        try:
            from transformers import AutoImageProcessor, AutoModel
        except ImportError as error:
            raise ImportError(
                f'HuggingFaceModel {self.name!r} needs transformers: pip install "dejavu-lightning[annotate]"'
            ) from error
        models: Any = AutoModel
        try:
            with nothing_unpickled(self.name):
                model, info = models.from_pretrained(self.name, output_loading_info=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise ValueError(f"{self.name!r} cannot be loaded by transformers: {reason}") from error
        # transformers fills these with random numbers; a pooler that is not asked for does no harm.
        absent = sorted(
            str(key)
            for kind in ("missing_keys", "mismatched_keys")
            for key in info[kind]
            if self.embedding == "pooler" or not str(key).startswith("pooler.")
        )
        if absent:
            raise ValueError(
                f"{self.name!r} lacks weights of its {type(model).__name__}: {', '.join(absent[:5])}"
                + (", ..." if len(absent) > 5 else "")
                + ("; choose embedding='first_token'" if all(key.startswith("pooler.") for key in absent) else "")
            )
        if hasattr(model, "get_text_features"):
            raise ValueError(f"{self.name!r} is a model of pictures and texts; open_clip loads such, see OpenClipModel")
        shown = self.preprocessing or _own(AutoImageProcessor, self.name)
        return LoadedModel(f"Hugging Face {self.name}", model.float(), self._embed, shown)

    def _embed(self, module: nn.Module, images: Tensor) -> Tensor:
        output: Any = module(pixel_values=images)
        if self.embedding == "pooler":
            pooled: Tensor | None = getattr(output, "pooler_output", None)
            if pooled is None:
                raise ValueError(f"{type(module).__name__} has no pooler; choose another embedding")
            return pooled.flatten(1)
        tokens: Tensor = output.last_hidden_state
        if tokens.ndim != 3:
            raise ValueError(
                f"{type(module).__name__} gives {tuple(tokens.shape)}, no tokens (B, L, D); choose embedding='pooler'"
            )
        return tokens[:, 0] if self.embedding == "first_token" else tokens.mean(dim=1)


def _own(processors: Any, name: str) -> Preprocessing | None:
    try:
        config: dict[str, Any] = processors.from_pretrained(name, trust_remote_code=False).to_dict()
    except (OSError, ValueError):
        return None  # the model comes without a processor
    size = config["crop_size"] if config.get("do_center_crop") else config["size"]
    side = size.get("height", size.get("shortest_edge"))
    resample = config.get("resample")
    interpolation = RESAMPLING.get(2 if resample is None else int(resample))
    if side is None or size.get("width", side) != side or interpolation is None or config.get("offset"):
        raise ValueError(
            f"{name!r}: size={size}, resample={resample} and offset={config.get('offset')} of its processor are not "
            "understood; give preprocessing"
        )
    # Its mean and std are of what rescaling gives, ours of values in [0, 1].
    scale = 255 * (config.get("rescale_factor") or 1 / 255 if config.get("do_rescale", True) else 1.0)
    normalizes = config.get("do_normalize")
    mean, std = (config["image_mean"], config["image_std"]) if normalizes else ([0.0] * 3, [1.0] * 3)
    red, green, blue = (value / scale for value in mean)
    return Preprocessing(int(side), (red, green, blue), (std[0] / scale, std[1] / scale, std[2] / scale), interpolation)
