"""What the datamodules of captioned pictures share: preprocessing by open_clip, the sets of the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from open_clip.transform import AugmentationCfg, PreprocessCfg, image_transform_v2
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize, to_pil_image

from dejavu_lightning.core.preprocessing import PictureTransform, Preprocessing, Shown, known
from dejavu_lightning.core.sets import MemorizationSets, UtilitySets
from dejavu_lightning.data.caption_dataset import CaptionDataset, Transform
from dejavu_lightning.data.image_dataset import square
from dejavu_lightning.data.sources.caption_source import CaptionSource
from dejavu_lightning.data.split_datamodule import SplitDataModule
from dejavu_lightning.data.views import CropFrom, RandomViews, checked_crop_from, random_crop

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of OpenAI's CLIP, which most of open_clip's models use
STD = (0.26862954, 0.26130258, 0.27577711)


class ImageTextDataModule(SplitDataModule):
    """Captioned pictures: subclasses load batches and find the sets.

    Training batches hold ``image`` (B, 3, image_size, image_size) normalised, ``caption`` B strings, ``id``,
    and ``tokens`` (B, L) where the trained module has a ``tokenizer``.

    Args:
        train_on: "A" for the target model, "B" for the reference model.
        image_size: side in pixels of what the encoder takes.
        batch_size: samples per step and device.
        augmentation: fields of open_clip's ``AugmentationCfg``, such as ``scale``; its defaults if not given.
        views: instead of open_clip's augmentation, makes one view of each picture, batched on its device.
        crop_from: with ``views``, what they are cropped from: "square", into which workers squeeze the picture, or
            "original", its own pixels, cropped by the workers. open_clip's augmentation always crops these.
        storage_size: side in pixels of those squares; ``image_size`` if not given.
        cached_views: train on features of so many views of each picture, which a frozen image tower (``model.freeze``)
            computes once; 0 draws views anew in every epoch.
        caption_sampling: train on one of a picture's captions, drawn anew each epoch by seed, epoch and id; if not, on
            its own, which the tests ask with in any case.
        mean, std: per channel, of pixel values in [0, 1].
        interpolation: of resizing, "bicubic" or "bilinear".
        resize_mode: how whole pictures become square in the tests: "shortest" cuts their ends off, "longest"
            pads them, "squash" squeezes them.
        num_workers: processes that decode pictures for training.
        pin_memory, persistent_workers: as in torch's ``DataLoader``.
    """

    def __init__(
        self,
        train_on: Literal["A", "B"] = "A",
        image_size: int = 224,
        batch_size: int = 256,
        augmentation: Mapping[str, Any] | None = None,
        views: RandomViews | None = None,
        crop_from: CropFrom = "square",
        storage_size: int | None = None,
        cached_views: int = 0,
        caption_sampling: bool = False,
        mean: tuple[float, float, float] = MEAN,
        std: tuple[float, float, float] = STD,
        interpolation: Literal["bicubic", "bilinear"] = "bicubic",
        resize_mode: Literal["shortest", "longest", "squash"] = "shortest",
        num_workers: int = 0,
        pin_memory: bool = False,
        persistent_workers: bool = True,
    ) -> None:
        super().__init__(train_on, batch_size, cached_views)
        if views is not None and augmentation:
            raise ValueError("augmentation is open_clip's and views replaces it: give one of the two")
        if views is not None and (views.image_size != image_size or views.num_views != 1):
            raise ValueError(
                f"views must make 1 view of image_size={image_size} pixels, got {views.num_views} of {views.image_size}"
            )
        self.image_size, self.views, self.crop_from = image_size, views, checked_crop_from(crop_from)
        self.caption_sampling = caption_sampling
        self.storage_size, self.augmentation = storage_size or image_size, _checked(augmentation or {})
        self.preprocessing = Preprocessing(image_size, mean, std, interpolation, resize_mode)
        self.training_transform: Transform
        if views is None:
            self.training_transform = _OpenClip(self.preprocessing, aug_cfg=self.augmentation)
        elif crop_from == "square":
            self.training_transform = partial(square, size=self.storage_size)
        else:
            self.training_transform = partial(random_crop, size=image_size, scale=views.scale, ratio=views.ratio)
        self.loading = {
            "num_workers": num_workers,
            "pin_memory": pin_memory,
            "persistent_workers": persistent_workers and num_workers > 0,
        }

    @property
    def tokenizer(self) -> Any:
        """The trained module's, so that workers tokenize; None if it has none."""
        return getattr(self.trainer.lightning_module, "tokenizer", None) if self.trainer else None

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Make the view, on the device that the batch arrived on."""
        if "features" in batch:
            return {**batch, "image": batch["features"][:, 0]}
        if self.views is None:
            return batch
        image: Tensor = batch["image"]
        views = self.views.to(image.device)
        view = views.of_crops(image) if self.crop_from == "original" else views(image, batch["aspect"])[0]
        return {**batch, "image": view}

    def sets_of(
        self,
        source: CaptionSource,
        members: Mapping[str, Sequence[int]],
        preprocessing: Shown | None = None,
        public: CaptionSource | None = None,
    ) -> MemorizationSets:
        """The attacked, public and held-out captioned pictures, by split name.

        Args:
            preprocessing: of an encoder that takes other pictures than those of training, or its transform.
            public: another source, all of whose pictures are public instead of those of that split.
        """
        given: Shown = preprocessing or self.preprocessing
        shown = known(given) or self.preprocessing
        transform = self._made_ready(given)
        augment = (
            partial(
                deepcopy(self.views).cpu().of_one,
                shown=shown,
                storage_size=self.storage_size if self.crop_from == "square" else None,
            )
            if self.views is not None
            else partial(_repeated, transform=_OpenClip(self._square(shown), aug_cfg=self.augmentation))
        )

        def pictures(split: str) -> CaptionDataset:
            return CaptionDataset(source, members[split], transform, augment)

        others = None if public is None else CaptionDataset(public, range(len(public)), transform, augment)
        return MemorizationSets(
            attack=pictures(self.train_on),
            public=others or pictures("public"),
            num_classes=len(source.object_names),
            other_split=pictures(self.other_split),
            neither_split=pictures("held_out") if len(members["held_out"]) else None,
            class_names=list(source.object_names),
            trained_on=self.record,
            preprocessing=self._square(shown) if known(given) else None,
            in_preprocessing=partial(self.sets_of, source, members, public=public),
        )

    def _made_ready(self, shown: Shown) -> Transform:
        """What makes a picture uint8 (3, H, W) what an encoder takes."""
        if isinstance(shown, Preprocessing):
            return _OpenClip(self._square(shown))
        return partial(_of_pil, transform=shown)

    def _square(self, shown: Preprocessing) -> Preprocessing:
        return replace(shown, resize_mode=shown.resize_mode or self.preprocessing.resize_mode)

    def utility_sets_of(
        self, source: CaptionSource, members: Mapping[str, Sequence[int]], preprocessing: Shown | None = None
    ) -> UtilitySets:
        """Public captioned pictures to learn from; the validation ones, else the held-out ones, to test on."""
        validation = members["validation"] if len(members["validation"]) else members["held_out"]
        if not len(validation):
            raise ValueError("measuring utility needs pictures to test on: give data a validation or held-out part")
        transform = self._made_ready(preprocessing or self.preprocessing)
        return UtilitySets(
            train=CaptionDataset(source, members["public"], transform),
            validation=CaptionDataset(source, validation, transform),
            num_classes=len(source.object_names),
            class_names=list(source.object_names),
            trained_on=self.record,
        )


class _OpenClip(nn.Module):
    """open_clip's transforms take PIL images; sources give uint8 (3, H, W).

    For the tests, of a whole picture that has the size already all that is left is to normalise. ``aug_cfg`` makes it
    the transform of training, which never skips the rest.
    """

    def __init__(self, shown: Preprocessing, aug_cfg: AugmentationCfg | None = None) -> None:
        super().__init__()
        config = PreprocessCfg(
            size=shown.image_size,
            mean=shown.mean,
            std=shown.std,
            interpolation=shown.interpolation,
            resize_mode=shown.resize_mode or "shortest",
        )
        self.shown, self.augments = shown, aug_cfg is not None
        self.transform = image_transform_v2(config, is_train=aug_cfg is not None, aug_cfg=aug_cfg)

    def forward(self, image: Tensor) -> Tensor:
        size = self.shown.image_size
        if not self.augments and tuple(image.shape[1:]) == (size, size):
            normalized: Tensor = normalize(image.float() / 255, list(self.shown.mean), list(self.shown.std))
            return normalized
        transformed: Tensor = self.transform(to_pil_image(image))
        return transformed


def _of_pil(image: Tensor, transform: PictureTransform) -> Tensor:
    transformed: Tensor = transform(to_pil_image(image))
    return transformed


def _repeated(image: Tensor, count: int, transform: Transform) -> Tensor:
    return torch.stack([transform(image) for _ in range(count)])


def _checked(augmentation: Mapping[str, Any]) -> AugmentationCfg:
    fields = sorted(AugmentationCfg.__dataclass_fields__)
    unknown = sorted(set(augmentation) - set(fields))
    if unknown:
        raise ValueError(f"augmentation has no {unknown}; open_clip's AugmentationCfg has {fields}")
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in augmentation.items()}
    return AugmentationCfg(**given)
