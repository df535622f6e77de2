"""SSLMem (Wang et al. 2024, arXiv 2401.12233): how near a model puts training views of one picture.

With z(x) the embedding of x, of length 1, and x' its training views::

    d(x) = mean over x' of |z(x) - z(x')|          in [0, 2]
    m(x) = d_reference(x) - d_target(x)            positive where the target has seen x in training

For a layer instead of the embedding it is LayerMem (Wang et al. 2024, arXiv 2409.19069).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import pyarrow as pa
import torch
from torch import Tensor, nn

from dejavu_lightning.core.records import Records
from dejavu_lightning.core.samples import Samples
from dejavu_lightning.core.sets import MemorizationSets
from dejavu_lightning.embedding.encoders import Encoder, ModuleEncoder
from dejavu_lightning.embedding.view_stacks import Augment, check_views, embed_views
from dejavu_lightning.memorization.display import Display
from dejavu_lightning.memorization.protocols import Attack, Comparison
from dejavu_lightning.memorization.view_alignment.display import DISPLAY
from dejavu_lightning.memorization.view_alignment.metrics import compare_views


class ViewAlignment:
    """Measure the distance between a picture and its training views, in the target and in the reference.

    Crops play no part: whole pictures are shown, and nothing is looked up among public ones.

    Args:
        views: training views of each picture; the same ones for both models.
        layers: dotted names of submodules whose outputs are measured too, as LayerMem does; of images only.
        augment: a function picture -> view, for data sets without a method ``views(position, count)``.
        seed: of the views.
        batch_size: pictures and views that the encoder sees at once.
        num_workers: processes that decode pictures.

    Raises:
        ValueError: ``views`` or ``batch_size`` is below 1.

    Example:
        >>> import torch
        >>> from dejavu_lightning.memorization import MemorizationSets
        >>> pictures = [(torch.eye(2)[c], c) for c in (0, 1)]
        >>> test = ViewAlignment(views=3, augment=lambda picture: picture + torch.tensor([0.75, 0.0]))
        >>> attack = test.prepare(lambda x: x, MemorizationSets(pictures, pictures, num_classes=2))
        >>> attack(pictures, "attack").column("distance")  # of a picture to its views, in [0, 2]
        tensor([0.0000, 0.6325], dtype=torch.float64)
    """

    name: ClassVar[str] = "view_alignment"
    headline: ClassVar[str] = "sslmem"
    display: ClassVar[Display] = DISPLAY

    def __init__(
        self,
        views: int = 10,
        layers: Sequence[str] = (),
        augment: Augment | None = None,
        seed: int = 0,
        batch_size: int = 250,
        num_workers: int = 0,
    ) -> None:
        if views < 1 or batch_size < 1:
            raise ValueError(f"views and batch_size must be at least 1, got views={views}, batch_size={batch_size}")
        self.views, self.layers, self.augment, self.seed = views, list(layers), augment, seed
        self.batch_size, self.num_workers = batch_size, num_workers

    def check(self, encoder: Encoder) -> None:
        """Raise now what encoding would raise later."""
        _Layers(encoder, self.layers)

    def prepare(self, encoder: Encoder, sets: MemorizationSets) -> Attack:
        """Bind the encoder; there is nothing to embed beforehand.

        Raises:
            TypeError: no views of the attacked pictures can be drawn.
            ValueError: the module has no such layer.
        """
        check_views(sets.attack, self.augment, "attack")
        return ViewAttack(self, encoder, sets)

    @staticmethod
    def compare(target: Records, reference: Records, paired: bool, seed: int) -> Comparison:
        """See :func:`~dejavu_lightning.memorization.view_alignment.metrics.compare_views`."""
        return compare_views(target, reference, paired, seed)


class ViewAttack:
    """A :class:`ViewAlignment` bound to one encoder."""

    def __init__(self, test: ViewAlignment, encoder: Encoder, sets: MemorizationSets) -> None:
        self.test, self.encoder, self.sets = test, encoder, sets
        self._layers = _Layers(encoder, test.layers)

    @property
    def settings(self) -> dict[str, Any]:
        """What the records depend on besides the model."""
        test = self.test
        return {"test": test.name, "views": test.views, "view_seed": test.seed, "layers": test.layers}

    def on(self, encoder: Encoder, sets: MemorizationSets) -> ViewAttack:
        """Prepare the same attack on another model."""
        return ViewAttack(self.test, encoder, sets)

    def __call__(self, dataset: Samples, role: str) -> Records:
        """Measure the distances of every record of a dataset; ``role`` is what errors call it."""
        test = self.test
        with self._layers.hooked():
            found = embed_views(
                self._layers,
                self._layers.distances,
                dataset,
                role,
                views=test.views,
                seed=test.seed,
                augment=test.augment,
                batch_size=test.batch_size,
                num_workers=test.num_workers,
            )
        distances = found.gather()
        if len(distances) > 1 and float(distances[:, 0].max()) <= 4 * torch.finfo(torch.float32).eps:
            raise ValueError(
                f"all views of all {len(distances)} pictures of the {role} set have the same embedding: the model has "
                "collapsed, or encode= names a part that does not see its input"
            )
        names = ["distance", *(f"distance/{layer}" for layer in test.layers)]
        columns = dict(zip(names, distances.double().T.numpy(), strict=True))
        return Records(pa.table({"id": found.ids, "label": found.facts, **columns}), self.settings)


class _Layers:
    """An encoder that puts the outputs of further layers beside its embedding."""

    def __init__(self, encoder: Encoder, layers: Sequence[str]) -> None:
        self.encoder, self._widths, self._outputs = encoder, [0], dict[str, Tensor]()
        self._modules: dict[str, nn.Module] = {}
        if isinstance(encoder, ModuleEncoder):
            encoder.resolve()
        for layer in layers:
            known = dict(encoder.module.named_modules()) if isinstance(encoder, ModuleEncoder) else {}
            if layer not in known:
                shown = ", ".join([name for name in known if name][:8]) or "none: it is no module"
                raise ValueError(
                    f"ViewAlignment: layers names {layer!r}, the model's submodules are {shown}, ...; choose among them"
                )
            self._modules[layer] = known[layer]

    def hooked(self) -> ExitStack:
        """Keep the layers' outputs as long as this is open."""
        stack = ExitStack()
        for name, module in self._modules.items():

            def keep(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
                self._outputs[name] = output[0] if isinstance(output, tuple) else output

            stack.callback(module.register_forward_hook(keep).remove)
        return stack

    def __call__(self, inputs: Any) -> Tensor:
        embedding = self.encoder(inputs)
        if not isinstance(embedding, Tensor) or embedding.ndim != 2:
            shape = tuple(embedding.shape) if isinstance(embedding, Tensor) else type(embedding).__name__
            raise ValueError(f"the encoder must return embeddings (B, D), it returned {shape}; choose another encode=")
        lacking = [name for name in self._modules if not isinstance(self._outputs.get(name), Tensor)]
        if lacking:
            raise ValueError(
                f"ViewAlignment: layers names {lacking[0]!r}, which gives no tensor where the model encodes; choose a "
                "layer that encode= runs through"
            )
        parts = [embedding.float(), *(self._outputs[name].flatten(1).float() for name in self._modules)]
        self._widths = [part.shape[1] for part in parts]
        return torch.cat(parts, dim=1)

    def distances(self, embeddings: Tensor) -> Tensor:
        """Mean distance of the views to the picture, by layer: (B, 1 + views, sum of widths) -> (B, layers)."""
        found = []
        for part in torch.split(embeddings, self._widths, dim=2):
            directions = nn.functional.normalize(part, dim=2)
            found.append((directions[:, 1:] - directions[:, :1]).norm(dim=2).mean(dim=1))
        return torch.stack(found, dim=1)
