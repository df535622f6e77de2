"""Pictures, their splits, and what the tests show of them."""

from dejavu_lightning.data.caption_data import CaptionData
from dejavu_lightning.data.caption_table import CaptionTable
from dejavu_lightning.data.coco import CocoInstances
from dejavu_lightning.data.coco_captions import CocoCaptions
from dejavu_lightning.data.crops import background_crop, background_crops, corner_crop, corner_crops
from dejavu_lightning.data.datamodule import PictureData
from dejavu_lightning.data.imagefolder import ImageFolder
from dejavu_lightning.data.object_scenes import ObjectScenes
from dejavu_lightning.data.scenes import Scenes
from dejavu_lightning.data.shard_data import ShardData
from dejavu_lightning.data.splits import SplitManifest, partition_per_class
from dejavu_lightning.data.views import RandomViews
from dejavu_lightning.data.voc import VocFolder

__all__ = [
    "CaptionData",
    "CaptionTable",
    "CocoCaptions",
    "CocoInstances",
    "ImageFolder",
    "ObjectScenes",
    "PictureData",
    "RandomViews",
    "Scenes",
    "ShardData",
    "SplitManifest",
    "VocFolder",
    "background_crop",
    "background_crops",
    "corner_crop",
    "corner_crops",
    "partition_per_class",
]
