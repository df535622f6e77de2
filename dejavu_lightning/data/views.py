"""Random views of a batch, made on the device of the batch; every sample draws its own parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import kornia.augmentation as augment
import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize

from dejavu_lightning.core.preprocessing import Preprocessing
from dejavu_lightning.data.image_dataset import square


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
    """Boxes of random area and shape in pictures that were squeezed into squares.

    aspect (B,) is width / height before squeezing, so that ``ratio`` bounds the shape of the crop in the
    true picture. A side that would leave the picture is shortened to the picture's. -> (B, 4) pixels as
    x0, y0, width, height.
    """
    uniform = torch.rand(4, len(aspect), device=aspect.device)
    area = scale[0] + (scale[1] - scale[0]) * uniform[0]
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = torch.exp(low + (high - low) * uniform[1]) / aspect
    width, height = (area * shape).sqrt(), (area / shape).sqrt()
    extent = (torch.stack([width, height]).clamp(max=1) * side).clamp(min=min(2, side))
    corner = uniform[2:] * (side - extent)
    return torch.cat([corner, extent]).T


class RandomViews(nn.Module):
    """Random resized crop, flip and photometric changes, batched.

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
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        return [(self._pixels(pixels, aspect, side) - mean) / std for _ in range(self.num_views)]

    @torch.no_grad()
    def of_one(self, image: Tensor, count: int, storage_size: int, shown: Preprocessing) -> Tensor:
        """Draw ``count`` views of one picture, as training does, for an encoder.

        Args:
            image: uint8 (3, H, W).
            count: how many.
            storage_size: side of the square that it is squeezed into first.
            shown: side and normalisation of the encoder's pictures.

        Returns:
            (count, 3, shown.image_size, shown.image_size) normalised.
        """
        aspect = torch.tensor(image.shape[2] / image.shape[1]).expand(count)
        pixels = (square(image, storage_size).float() / 255).expand(count, -1, -1, -1)
        views: Tensor = normalize(self._pixels(pixels, aspect, shown.image_size), list(shown.mean), list(shown.std))
        return views

    def _pixels(self, pixels: Tensor, aspect: Tensor, size: int) -> Tensor:
        boxes = random_boxes(aspect, pixels.shape[-1], self.scale, self.ratio)
        view: Tensor = self.photometric(crop_and_resize(pixels, boxes, size).clamp(0, 1))
        return view
