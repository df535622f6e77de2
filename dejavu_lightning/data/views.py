"""Random views of a batch, made on the device of the batch; every sample draws its own parameters."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Literal, get_args

import kornia.augmentation as augment
import torch
from torch import Tensor, nn
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2.functional import normalize, resized_crop

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.core.random_stream import random_stream
from dejavu_lightning.data.image_dataset import Sample, square
from dejavu_lightning.data.resolutions import Resolutions

ATTEMPTS = 10  # of torchvision's RandomResizedCrop
CropFrom = Literal["square", "original"]


def resize_weights(start: Tensor, length: Tensor, size_in: int, size_out: int) -> Tensor:
    """Row weights of an antialiased linear resize of [start, start + length) to ``size_out`` pixels.

    start, length (B,) in input pixels -> (B, size_out, size_in); each row sums to 1 and is zero outside
    the interval. The filter is the triangle that torchvision and PIL use with ``antialias=True``.
    """
    scale = (length / size_out)[:, None]  # B, 1: input pixels per output pixel
    centre = start[:, None] + (torch.arange(size_out, device=start.device) + 0.5) * scale  # B, out
    pixel = torch.arange(size_in, device=start.device) + 0.5  # in
    distance = (pixel - centre[..., None]).abs()  # B, out, in
    triangle = (1 - distance / scale.clamp(min=1)[..., None]).clamp(min=0)
    inside = (pixel > start[:, None]) & (pixel < (start + length)[:, None])  # B, in
    weights = triangle * inside[:, None]
    return weights / weights.sum(dim=2, keepdim=True)


def crop_and_resize(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Crop each image to its own box and resize the crop to a square, antialiased.

    images (B, C, H, W) float; boxes (B, 4) as x0, y0, width, height in pixels, sides of at least 1
    -> (B, C, size, size). Two batched matrix products, one a side.
    """
    x0, y0, width, height = boxes.unbind(1)
    rows = resize_weights(y0, height, images.shape[2], size)[:, None]  # B, 1, size, H
    columns = resize_weights(x0, width, images.shape[3], size)[:, None]  # B, 1, size, W
    return rows @ images @ columns.transpose(2, 3)


def random_boxes(aspect: Tensor, side: int, scale: Sequence[float], ratio: Sequence[float]) -> Tensor:
    """Draw boxes in pictures that were squeezed into squares, as torchvision's ``RandomResizedCrop`` draws them.

    Args:
        aspect: (B,) width / height before squeezing: ``ratio`` bounds the shape of the crop in the true picture.
        side: of the squares in pixels.
        scale, ratio: see :class:`RandomViews`.

    Returns:
        (B, 4) pixels of the squares as x0, y0, width, height.
    """
    size = torch.rand(2, ATTEMPTS, len(aspect), device=aspect.device)
    corner = torch.rand(2, len(aspect), device=aspect.device)
    return boxes_of(size, corner, aspect, side, scale, ratio)


def boxes_of(
    size: Tensor, corner: Tensor, aspect: Tensor, side: int, scale: Sequence[float], ratio: Sequence[float]
) -> Tensor:
    """Make boxes of uniform random numbers; nothing waits for the device.

    The first attempt whose box fits into the picture is taken. Where none does, it is the largest box of an allowed
    shape, in the middle of the picture.

    Args:
        size: (2, attempts, B) in [0, 1), where the area and the shape lie in their ranges, attempt by attempt.
        corner: (2, B) in [0, 1), where the box lies in the room that it leaves, across and down.
        aspect, side, scale, ratio: as in :func:`random_boxes`.
    """
    area = scale[0] + (scale[1] - scale[0]) * size[0]
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = torch.exp(low + (high - low) * size[1]) / aspect  # attempts, B: width / height within the square
    extents = torch.stack([(area * shape).sqrt(), (area / shape).sqrt()])  # 2, attempts, B
    fits = (extents <= 1).all(dim=0)
    first = fits.int().argmax(dim=0)
    drawn = extents.gather(1, first.expand(2, 1, -1))[:, 0]
    nearest = aspect.clamp(ratio[0], ratio[1]) / aspect
    whole = torch.stack([nearest, 1 / nearest]).clamp(max=1)  # one of the two is 1
    fitted = fits.any(dim=0)
    # resize_weights needs the middle of a pixel within the box.
    extent = (torch.where(fitted, drawn, whole) * side).clamp(min=min(2, side))
    return torch.cat([torch.where(fitted, corner, 0.5) * (side - extent), extent]).T


class RandomViews(nn.Module):
    """Make random views of a batch: resized crops, flips and photometric changes.

    Args:
        image_size: side of a view in pixels.
        num_views: views of each picture.
        scale: range of the crop's share of the picture's area, in (0, 1].
        ratio: range of the crop's width / height.
        flip: probability of a horizontal flip.
        brightness, contrast, saturation, hue: jitter strengths as in torchvision's ``ColorJitter``.
        jitter: probability of the colour jitter.
        grayscale, blur, solarize: probabilities.
        mean, std: per channel, of pixel values in [0, 1].

    Raises:
        ValueError: a range is empty or reaches beyond its bounds.

    Example:
        >>> import torch
        >>> views = RandomViews(image_size=16, num_views=2)
        >>> pictures = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
        >>> [view.shape for view in views(pictures, aspect=torch.ones(4))]
        [torch.Size([4, 3, 16, 16]), torch.Size([4, 3, 16, 16])]
    """

    def __init__(
        self,
        image_size: int = 32,
        num_views: int = 2,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.2,
        hue: float = 0.1,
        jitter: float = 0.8,
        grayscale: float = 0.2,
        blur: float = 0.0,
        solarize: float = 0.0,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__()
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale must satisfy 0 < low <= high <= 1, got {scale}")
        if not 0 < ratio[0] <= ratio[1]:
            raise ValueError(f"ratio must satisfy 0 < low <= high, got {ratio}")
        self.image_size, self.num_views, self.scale, self.ratio = image_size, num_views, scale, ratio
        kernel = 2 * (image_size // 20) + 1  # a tenth of the image, odd
        candidates = (
            (flip, augment.RandomHorizontalFlip(p=flip)),
            (jitter, augment.ColorJitter(brightness, contrast, saturation, hue, p=jitter)),
            (grayscale, augment.RandomGrayscale(p=grayscale)),
            (blur, augment.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=blur)),
            (solarize, augment.RandomSolarize(thresholds=0.0, additions=0.0, p=solarize)),
        )
        self.photometric = nn.Sequential(*(transform for probability, transform in candidates if probability > 0))
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor, aspect: Tensor, image_size: int | None = None) -> list[Tensor]:
        """Make ``num_views`` views of a batch.

        Args:
            images: uint8 (B, 3, S, S).
            aspect: (B,) width / height before the pictures were squeezed into squares.
            image_size: another side of the views, for this call.

        Returns:
            ``num_views`` normalised (B, 3, image_size, image_size).
        """
        pixels, side = images.float() / 255, image_size or self.image_size
        return [self._normalized(self._pixels(pixels, aspect, side)) for _ in range(self.num_views)]

    @torch.no_grad()
    def of_crops(self, crops: Tensor) -> Tensor:
        """Make one view of each picture from crops that are drawn already, see :class:`OriginalCrops`.

        Args:
            crops: uint8 (B, 3, S, S).

        Returns:
            (B, 3, S, S) normalised.
        """
        return self._normalized(self.photometric(crops.float() / 255))

    @torch.no_grad()
    def of_one(self, image: Tensor, count: int, shown: Preprocessing, storage_size: int | None) -> Tensor:
        """Draw ``count`` views of one picture, as training does, for an encoder.

        Args:
            image: uint8 (3, H, W).
            count: how many.
            shown: side and normalisation of the encoder's pictures.
            storage_size: side of the square that it is squeezed into first; None crops its own pixels.

        Returns:
            (count, 3, shown.image_size, shown.image_size) normalised.
        """
        if storage_size is None:
            crops = [random_crop(image, shown.image_size, self.scale, self.ratio) for _ in range(count)]
            drawn = self.photometric(torch.stack(crops).float() / 255)
        else:
            aspect = torch.tensor(image.shape[2] / image.shape[1]).expand(count)
            pixels = (square(image, storage_size).float() / 255).expand(count, -1, -1, -1)
            drawn = self._pixels(pixels, aspect, shown.image_size)
        views: Tensor = normalize(drawn, list(shown.mean), list(shown.std))
        return views

    def _normalized(self, views: Tensor) -> Tensor:
        return (views - self.get_buffer("mean")) / self.get_buffer("std")

    def _pixels(self, pixels: Tensor, aspect: Tensor, size: int) -> Tensor:
        boxes = random_boxes(aspect, pixels.shape[-1], self.scale, self.ratio)
        view: Tensor = self.photometric(crop_and_resize(pixels, boxes, size).clamp(0, 1))
        return view


def random_crop(image: Tensor, size: int, scale: Sequence[float], ratio: Sequence[float]) -> Tensor:
    """Draw torchvision's ``RandomResizedCrop`` of a picture's own pixels: uint8 (3, H, W) to (3, size, size)."""
    top, left, height, width = RandomResizedCrop.get_params(image, list(scale), list(ratio))
    crop: Tensor = resized_crop(image, top, left, height, width, [size, size], antialias=True)
    return crop


def checked_crop_from(given: CropFrom) -> CropFrom:
    """Hand ``crop_from`` back, or refuse what is none."""
    if given not in get_args(CropFrom):
        raise ValueError(f"crop_from must be one of {list(get_args(CropFrom))}, got {given!r}")
    return given


class StoredSquare:
    """Squeezes a picture into a square, from which views are cropped on the device of the batch.

    Items: ``image`` uint8 (3, storage_size, storage_size), ``aspect`` width / height of the picture.
    """

    def __init__(self, storage_size: int) -> None:
        self.storage_size = storage_size

    def __call__(self, image: Tensor, identifier: str, epoch: int) -> Sample:
        aspect = torch.tensor(image.shape[2] / image.shape[1], dtype=torch.float32)
        return {"image": square(image, self.storage_size), "aspect": aspect}


class OriginalCrops:
    """Crops a picture's own pixels for each of its views, where it is decoded.

    Items: ``crops``, a list of uint8 (3, S, S), those of all views in turn. They depend on seed, epoch and id alone.

    Args:
        makers: what makes views of them on the device, by :meth:`RandomViews.of_crops`.
        resolutions: side of the views by epoch.
        seed: of the run.
    """

    def __init__(self, makers: Sequence[RandomViews], resolutions: Resolutions, seed: int) -> None:
        self.drawn = [(maker.image_size, maker.scale, maker.ratio) for maker in makers for _ in range(maker.num_views)]
        self.resolutions, self.seed = resolutions, seed

    def __call__(self, image: Tensor, identifier: str, epoch: int) -> Sample:
        with random_stream(self.seed, epoch, zlib.crc32(identifier.encode())):
            sides = [self.resolutions.side(size, epoch) for size, _, _ in self.drawn]
            crops = [
                random_crop(image, side, scale, ratio)
                for side, (_, scale, ratio) in zip(sides, self.drawn, strict=True)
            ]
        return {"crops": crops}
