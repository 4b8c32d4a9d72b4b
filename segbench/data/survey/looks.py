"""What decoding the pairs of a data set shows, pair by pair and summed up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from segbench.data.check import decode_pair
from segbench.data.classes import IGNORE
from segbench.data.dataset import Pair
from segbench.data.survey.duplicates import perceptual_hash
from segbench.errors import InputError


@dataclass(frozen=True)
class Look:
    """What decoding a pair showed; after an error, nothing but the error.

    counts: pixels of each mask value, int64 [256]. hash: see perceptual_hash.
    """

    split: str
    pair: Pair
    error: InputError | None
    size: tuple[int, int] = (0, 0)
    counts: NDArray[np.int64] | None = None
    digest: bytes = b""
    hash: NDArray[np.uint64] | None = None
    one_color: bool = False

    @property
    def label(self) -> str:
        return f"{self.split}/image/{self.pair.image.name}"


@dataclass(frozen=True)
class SplitSummary:
    """One split in numbers.

    sizes: images of each (width, height). pixels, images, groups_with: of each class, int64 [K].
    unread: pairs that could not be decoded and are in none of these.
    """

    pairs: int
    unread: int
    sizes: Counter[tuple[int, int]]
    pixels: NDArray[np.int64]
    images: NDArray[np.int64]
    groups_with: NDArray[np.int64]
    groups: int
    ignored: int


def look_at(split: str, pair: Pair, num_classes: int) -> Look:
    """Decode a pair and keep what the rules ask for."""
    try:
        image, mask = decode_pair(pair, num_classes)
    except InputError as error:
        return Look(split, pair, error)
    pixels = np.asarray(image.convert("RGB"))
    return Look(
        split,
        pair,
        error=None,
        size=image.size,
        counts=np.bincount(mask.ravel(), minlength=IGNORE + 1),
        digest=blake2b(pixels.tobytes(), digest_size=16, salt=repr(image.size).encode()).digest(),
        hash=perceptual_hash(pixels),
        one_color=bool((pixels == pixels[0, 0]).all()),
    )


def summary_of(looks: Sequence[Look], num_classes: int) -> SplitSummary:
    """The sums over the pairs of one split."""
    read = [look for look in looks if look.counts is not None]
    counts = np.array([look.counts for look in read], np.int64).reshape(-1, IGNORE + 1)
    present = counts[:, :num_classes] > 0
    groups = np.array([look.pair.group for look in read])
    with_class = [len(set(groups[column].tolist())) for column in present.T]
    return SplitSummary(
        pairs=len(looks),
        unread=len(looks) - len(read),
        sizes=Counter(look.size for look in read),
        pixels=counts[:, :num_classes].sum(0),
        images=present.sum(0),
        groups_with=np.array(with_class, np.int64),
        groups=len({look.pair.group for look in looks}),
        ignored=int(counts[:, IGNORE].sum()),
    )
