"""A reference without a second CLIP: what a text embedder that never saw the pairs finds by the caption.

Kokhlikyan et al. (2024, arXiv 2504.05651) match captions to public captions with a sentence embedder; the objects of
the public captions' images are what the caption's words alone bring back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dejavu_lightning.core.distributed import failing_together
from dejavu_lightning.core.records import Records
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.core.torch_file import nothing_unpickled
from dejavu_lightning.embedding.encoders import ModuleEncoder
from dejavu_lightning.memorization.protocols import Attack, MemorizationTest, ReferenceRecords, RetrievesByCaption
from dejavu_lightning.memorization.references.fixed_reference import FixedReference


class TextEmbedder(FixedReference):
    """Retrieve the objects of a caption's image through the nearest public captions.

    The one-model test of Kokhlikyan et al. (2024, arXiv 2504.05651). Its records are those of ``ObjectRetrieval`` with
    ``direction="t2t"``, whatever the target's direction is.

    Args:
        model: a name or a folder, as ``sentence_transformers.SentenceTransformer`` takes it. Needs the extra
            ``text``: pip install "dejavu-lightning[text]".
        prefix: put before every caption, for models that were trained with one, such as "query: " of E5.
        batch_size: captions embedded at once.

    Raises:
        ValueError: ``batch_size`` is below 1; or, once it is asked, the model cannot be loaded.

    Example:
        The model is downloaded when it is first asked.

        >>> TextEmbedder("thenlper/gte-base", batch_size=32).kind
        'text embedder'
    """

    kind = "text embedder"
    serves, served = RetrievesByCaption, "object retrieval"

    def __init__(self, model: str = "thenlper/gte-base", prefix: str = "", batch_size: int = 64) -> None:
        if batch_size < 1:
            raise ValueError(f"TextEmbedder: batch_size must be at least 1, got {batch_size}")
        self.model, self.prefix, self.batch_size = model, prefix, batch_size
        self._embedder: Any = None

    def check(self, test: MemorizationTest, sets: MemorizationSets, epochs: list[int]) -> None:
        """The model must be there, with its tokenizer."""
        super().check(test, sets, epochs)
        self._load()

    def infer(self, attack: Attack) -> ReferenceRecords:
        """What the captions bring back.

        Raises:
            ValueError: the model cannot be loaded.
        """
        assert isinstance(attack.test, RetrievesByCaption)
        device = attack.encoder.device if isinstance(attack.encoder, ModuleEncoder) else None
        with failing_together():
            encoder = _CaptionEncoder(self._load(), self.prefix, device)
        own = attack.test.by_captions(self.batch_size).prepare(encoder, attack.sets)
        neither = attack.sets.neither_split
        return ReferenceRecords(
            self._told(own(attack.sets.attack, "attack")),
            self._told(own(neither, "held-out")) if neither else None,
        )

    def _told(self, records: Records) -> Records:
        """Say who matched the captions, in place of a direction that the target need not share."""
        settings = {key: value for key, value in records.settings.items() if key != "direction"}
        return Records(records.table, {**settings, "reference": self.kind})

    def _load(self) -> Any:
        if self._embedder is None:
            try:
                from sentence_transformers import SentenceTransformer
            except ImportError as error:
                raise ValueError(
                    'TextEmbedder needs sentence-transformers: pip install "dejavu-lightning[text]"'
                ) from error
            try:
                with nothing_unpickled(self.model):
                    embedder = SentenceTransformer(self.model, device="cpu", trust_remote_code=False)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"TextEmbedder: model={self.model!r} cannot be loaded: {error}. It must be the name or the folder "
                    "of a sentence-transformers model"
                ) from error
            tokenizer = embedder.tokenizer
            # Where its files are missing, transformers makes a tokenizer that knows no word.
            if len(tokenizer) <= len(tokenizer.all_special_ids):
                raise ValueError(
                    f"TextEmbedder: model={self.model!r} has no files of its tokenizer, such as tokenizer.json: all "
                    "captions would be alike"
                )
            self._embedder = embedder
        return self._embedder


class _CaptionEncoder:
    """The encoder of captions that ``ObjectRetrieval`` asks for."""

    def __init__(self, embedder: Any, prefix: str, device: torch.device | None) -> None:
        self.embedder = embedder.to(device) if device is not None else embedder
        self.prefix = prefix

    def __call__(self, inputs: Any) -> Tensor:
        return self.encode_text(inputs)

    def encode_text(self, captions: list[str]) -> Tensor:
        """(B,) captions -> (B, D) float32."""
        texts = [self.prefix + caption for caption in captions]
        found: Tensor = self.embedder.encode(
            texts, batch_size=len(texts), convert_to_tensor=True, show_progress_bar=False
        )
        return found
