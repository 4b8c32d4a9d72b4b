"""Batches: who is drawn, and that nothing but (seed, epoch, place) decides how it looks."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from segbench.data.datamodule import EpochSampler, SegmentationData, ShardSampler


def crops(scenes: Path, epoch: int = 0, **keys: object) -> torch.Tensor:
    options = {"augmentation": "full", "crop_size": 48, "batch_size": 4, "samples_per_epoch": 12}
    data = SegmentationData(str(scenes), **(options | keys))  # type: ignore[arg-type]
    loader = data.train_dataloader()
    assert isinstance(loader.sampler, EpochSampler)
    loader.sampler.set_epoch(epoch)
    batches = list(loader)
    return torch.cat([torch.cat([b["image"], b["mask"][:, None]], 1) for b in batches])


def test_crops_do_not_depend_on_the_workers(scenes: Path):
    assert torch.equal(crops(scenes, num_workers=0), crops(scenes, num_workers=2))


def test_crops_depend_on_seed_and_epoch(scenes: Path):
    first = crops(scenes)
    assert torch.equal(first, crops(scenes))
    assert not torch.equal(first, crops(scenes, epoch=1))
    assert not torch.equal(first, crops(scenes, seed=1))


def test_every_image_is_drawn_equally_often():
    drawn = Counter(draw.image for draw in EpochSampler(6, 24, seed=0, rank=0, world_size=1))
    assert drawn == dict.fromkeys(range(6), 4)


def test_processes_share_the_draws_of_one():
    alone = list(EpochSampler(5, 12, seed=3, rank=0, world_size=1))
    shares = [list(EpochSampler(5, 12, seed=3, rank=r, world_size=3)) for r in range(3)]
    assert sorted(draw for share in shares for draw in share) == sorted(alone)
    assert {len(share) for share in shares} == {4}


def test_shards_cover_everything_once():
    shards = [list(ShardSampler(7, rank, 3)) for rank in range(3)]
    assert sorted(i for shard in shards for i in shard) == list(range(7))
    assert [len(ShardSampler(7, rank, 3)) for rank in range(3)] == [3, 2, 2]


def test_whole_images_come_as_they_are(scenes: Path):
    data = SegmentationData(str(scenes))
    val, clean = data.val_dataloader()
    assert [sample["name"][0] for sample in val] == [pair.name for pair in data.data_set.val]
    assert [sample["image"].shape for sample in clean] == [(1, 3, 96, 96)] * 6
    sample = next(iter(data.test_dataloader()))
    assert sample["image"].dtype == torch.uint8
    assert sample["mask"].dtype == torch.int64


def test_by_default_an_epoch_covers_the_pixels_and_draws_each_image_four_times(scenes: Path):
    assert SegmentationData(str(scenes), crop_size=96).samples_per_epoch == 6 * 4
    assert SegmentationData(str(scenes), crop_size=32).samples_per_epoch == 6 * 9


def test_class_pixels_are_those_of_the_training_masks(scenes: Path):
    data = SegmentationData(str(scenes))
    pixels = torch.cat([sample["mask"].flatten() for sample in data._whole(data.data_set.train)])
    assert torch.equal(data.class_pixels(), torch.bincount(pixels, minlength=8)[:8])


@pytest.mark.parametrize("strength", [-0.1, 1.6, np.inf])
def test_a_strength_out_of_range_is_refused(scenes: Path, strength: float):
    with pytest.raises(Exception, match=r"data\.augmentation_strength"):
        SegmentationData(str(scenes), augmentation_strength=strength)
