"""Batches: random crops to train on, whole images to score on."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch.utils.data import DataLoader, Dataset, Sampler
from typing_extensions import TypedDict

from segbench.data.augment import Augmentation, CropPolicy
from segbench.data.check import check_data_set
from segbench.data.dataset import (
    DataSet,
    Pair,
    class_pixels,
    image_size,
    read_data_set,
)
from segbench.data.decoded import ReadPair, decode, decoded
from segbench.errors import InputError


class Sample(TypedDict):
    """image: uint8 [3, H, W] (RGB, 0..255); mask: int64 [H, W] (class ids, 255 = ignore)."""

    image: torch.Tensor
    mask: torch.Tensor
    name: str


class Draw(NamedTuple):
    """Which crop: its epoch and place in it, and the image it is cut from."""

    epoch: int
    place: int
    image: int


class EpochSampler(Sampler[Draw]):
    """The draws of an epoch: every image equally often, in an order of (seed, epoch) alone.

    Processes of a distributed run take turns; the draws do not depend on how many there are.
    """

    def __init__(
        self, images: int, samples: int, seed: int, rank: int, world_size: int, epoch: int = 0
    ) -> None:
        self.images, self.samples, self.seed = images, samples, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch, with the right number after a resume too."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.samples // self.world_size

    def __iter__(self) -> Iterator[Draw]:
        rng = np.random.default_rng([self.seed, self.epoch])
        rounds = -(-self.samples // self.images)
        order = np.concatenate([rng.permutation(self.images) for _ in range(rounds)])
        for place in range(self.rank, len(self) * self.world_size, self.world_size):
            yield Draw(self.epoch, place, int(order[place]))


class ShardSampler(Sampler[int]):
    """Every index once over all processes: nothing repeated to fill up, nothing left out."""

    def __init__(self, length: int, rank: int, world_size: int) -> None:
        self.indices = range(rank, length, world_size)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


class TrainCrops(Dataset[Sample]):
    """Augmented crops. What a draw looks like depends on (seed, epoch, place) alone."""

    def __init__(
        self, pairs: Sequence[Pair], policy: CropPolicy, seed: int, read: ReadPair = decode
    ) -> None:
        self.pairs, self.policy, self.seed, self.read = pairs, policy, seed, read

    def __getitem__(self, draw: Draw) -> Sample:
        rng = np.random.default_rng([self.seed, draw.epoch, draw.place])
        pair = self.pairs[draw.image]
        image, mask = self.policy(*self.read(pair), rng)
        return _sample(image, mask, pair.name)


class WholeImages(Dataset[Sample]):
    """Images as they are, for scoring."""

    def __init__(self, pairs: Sequence[Pair], read: ReadPair = decode) -> None:
        self.pairs, self.read = pairs, read

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        return _sample(*self.read(pair), pair.name)


class SegmentationData(pl.LightningDataModule):
    """A folder of aerial images with pixel masks.

    Args:
        root: the data set's folder (train|val|test, classes.json, groups.csv).
        augmentation: what training crops go through besides the random crop.
        augmentation_strength: 0..1.5, scales every magnitude of it.
        crop_size: side of the square training crops in pixels.
        samples_per_epoch: crops per epoch. By default each image gives as many as cover its
            pixels once on average, at least 4.
        batch_size: crops per step and process.
        num_workers: processes that load crops; the result does not depend on it.
        cache_gb: most that decoded images may take in the user's cache folder, where all runs of
            a machine share them; 0 decodes each image each time. The result does not depend on it.
        train_clean_images: training images, spread evenly, that are scored whole and unaugmented
            each epoch: the only training score that compares across augmentations.
        eval_tile: score images in overlapping tiles of this side, a multiple of 32, where whole
            ones do not fit into memory; null: whole. It changes scores, those of networks that
            pool over the image most.
        folds: make this many test folds by group out of all images.
        fold: the one that is the test set, from 0.
        seed: order, crops and augmentation; linked to seed_everything.
    """

    def __init__(
        self,
        root: str = "data/scenes",
        augmentation: Augmentation = "none",
        augmentation_strength: float = 1.0,
        crop_size: int = 256,
        samples_per_epoch: int | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        cache_gb: float = 8.0,
        train_clean_images: int = 8,
        eval_tile: int | None = None,
        folds: int | None = None,
        fold: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= augmentation_strength <= 1.5:
            raise InputError(
                f"data.augmentation_strength: {augmentation_strength} is not within 0..1.5"
            )
        for key, number, least in (
            ("crop_size", crop_size, 1),
            ("batch_size", batch_size, 1),
            ("samples_per_epoch", samples_per_epoch, 1),
            ("train_clean_images", train_clean_images, 1),
            ("num_workers", num_workers, 0),
            ("cache_gb", cache_gb, 0),
            ("seed", seed, 0),
        ):
            if number is not None and number < least:
                raise InputError(f"data.{key}: {number}; give {least} or more")
        if eval_tile is not None and (eval_tile < 64 or eval_tile % 32):
            raise InputError(
                f"data.eval_tile: {eval_tile}; give a multiple of 32 from 64 on, or null for whole "
                "images"
            )
        if folds is None and fold != 0:
            raise InputError(f"data.fold: {fold} of no folds; set data.folds too")
        self.data_set: DataSet = read_data_set(Path(root), folds, fold)
        self.classes = self.data_set.classes
        self.policy = CropPolicy(augmentation, augmentation_strength, crop_size)
        self.crop_size, self.batch_size = crop_size, batch_size
        sizes = [image_size(pair) for pair in self.data_set.train]
        self.samples_per_epoch = samples_per_epoch or self._crops_that_cover(sizes)
        self.small = sum(min(size) < crop_size for size in sizes)
        self.num_workers, self.seed = num_workers, seed
        self.cache_gb = cache_gb
        self.read: ReadPair = decode
        self.eval_tile = eval_tile
        self.next_epoch = 0
        clean = np.linspace(0, len(self.data_set.train) - 1, train_clean_images).round()
        self.train_clean = [self.data_set.train[int(i)] for i in sorted(set(clean))]

    def setup(self, stage: str) -> None:
        """Find the decoded pixels; refuse fewer images or crops than there are processes."""
        processes = self._place()[1]
        self.read = decoded(self.data_set, self.cache_gb, write=False)
        parts = {"val": self.data_set.val, "train_clean": self.train_clean}
        parts["test"] = self.data_set.test
        for split, pairs in parts.items():
            if len(pairs) < processes:
                raise InputError(
                    f"trainer.devices: {processes} processes cannot share the {len(pairs)} images "
                    f"of {split}; use fewer"
                )
        if self.samples_per_epoch < self.batch_size * processes:
            raise InputError(
                f"data.samples_per_epoch: {self.samples_per_epoch} crops are not one batch of "
                f"data.batch_size={self.batch_size} for each of {processes} processes; give more"
            )

    def state_dict(self) -> dict[str, int]:
        """The epoch that follows a checkpoint, which is written when one has ended.

        After a resume Lightning lets workers fetch the first batches before it calls set_epoch,
        and before it remembers itself which epoch comes.
        """
        assert self.trainer is not None
        return {"next_epoch": self.trainer.current_epoch + 1}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.next_epoch = state_dict["next_epoch"]

    def prepare_data(self) -> None:
        check_data_set(self.data_set)
        if self.trainer is not None and self.trainer.state.fn == TrainerFn.FITTING:
            decoded(self.data_set, self.cache_gb, write=True)  # each image is read many times
        if self.small:
            print(
                f"segbench: {self.small} of {len(self.data_set.train)} training images are smaller "
                f"than data.crop_size={self.crop_size}; their crops are padded with ignore",
                file=sys.stderr,
            )
            self.small = 0  # once

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def class_pixels(self) -> torch.Tensor:
        """Labelled training pixels of each class, int64 [K]."""
        return torch.from_numpy(class_pixels(self.data_set.train, self.num_classes))

    def train_dataloader(self) -> DataLoader[Sample]:
        """Batches of augmented crops."""
        crops = TrainCrops(self.data_set.train, self.policy, self.seed, self.read)
        sampler = EpochSampler(
            len(self.data_set.train),
            self.samples_per_epoch,
            self.seed,
            *self._place(),
            self.next_epoch,
        )
        return DataLoader(
            crops,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=True,  # every step sees a batch of the same size
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # loaders draw from it and leave the global one alone
        )

    def val_dataloader(self) -> list[DataLoader[Sample]]:
        """Whole images: the validation split, and the clean part of the training split."""
        return [self._whole(self.data_set.val), self._whole(self.train_clean)]

    def test_dataloader(self) -> DataLoader[Sample]:
        """Whole images of the test split."""
        return self._whole(self.data_set.test)

    def predict_dataloader(self) -> DataLoader[Sample]:
        """The test split again."""
        return self.test_dataloader()

    def _whole(self, pairs: Sequence[Pair]) -> DataLoader[Sample]:
        return DataLoader(
            WholeImages(pairs, self.read),
            batch_size=1,  # sizes may differ
            sampler=ShardSampler(len(pairs), *self._place()),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            generator=torch.Generator(),
        )

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _crops_that_cover(self, sizes: Sequence[tuple[int, int]]) -> int:
        area = np.mean([width * height for width, height in sizes])
        per_image = max(4, -(-int(area) // self.crop_size**2))
        return max(per_image * len(sizes), self.batch_size)


def _sample(image: np.ndarray, mask: np.ndarray, name: str) -> Sample:
    return {
        "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        "mask": torch.from_numpy(mask.astype(np.int64)),
        "name": name,
    }
