"""Pictures, their splits, and what the tests show of them."""

from dejavu_lightning.data.caption_datamodule import CaptionDataModule
from dejavu_lightning.data.crops import background_crop, background_crops, corner_crop, corner_crops
from dejavu_lightning.data.image_datamodule import ImageDataModule
from dejavu_lightning.data.partition.near_duplicates import NearDuplicates
from dejavu_lightning.data.partition.splits import SplitManifest, partition_per_class
from dejavu_lightning.data.shards.shard_datamodule import ShardDataModule
from dejavu_lightning.data.sources.caption_table import CaptionTable
from dejavu_lightning.data.sources.coco import CocoInstances
from dejavu_lightning.data.sources.coco_captions import CocoCaptions
from dejavu_lightning.data.sources.image_folder import ImageFolder
from dejavu_lightning.data.sources.object_scenes import ObjectScenes
from dejavu_lightning.data.sources.scenes import Scenes
from dejavu_lightning.data.sources.voc import VocFolder
from dejavu_lightning.data.views import RandomViews

__all__ = [
    "CaptionDataModule",
    "CaptionTable",
    "CocoCaptions",
    "CocoInstances",
    "ImageDataModule",
    "ImageFolder",
    "NearDuplicates",
    "ObjectScenes",
    "RandomViews",
    "Scenes",
    "ShardDataModule",
    "SplitManifest",
    "VocFolder",
    "background_crop",
    "background_crops",
    "corner_crop",
    "corner_crops",
    "partition_per_class",
]
