"""The geometry of right and wrong pixels: borders, segments, bands. Arrays in, arrays out."""

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.data.classes import IGNORE

Ids = NDArray[np.uint8]
Mask = NDArray[np.bool_]

TOUCHED = 0.05
"""A segment of which no more than this share is right counts as wholly wrong."""


class Kind(IntEnum):
    """What is wrong with a pixel, by where it lies.

    After Bernhard et al., What's Outside the Intersection?, WACV 2024, who tell errors at a
    segment's border from those in its extent and from segments that are missed or made up.
    """

    BOUNDARY = 0  # within some pixels of a true border
    EXTENT = 1  # further inside, of a segment that was found in part
    SEGMENT = 2  # of a segment missed as a whole, or of one that is not there


@dataclass(frozen=True)
class Truth:
    """What is asked of the true class ids again and again.

    Args:
        ids: class ids [H, W], 255 = ignore.
        segments: a number for the connected segment of each pixel, 0 for ignored ones [H, W].
        sizes: pixels of each segment, the first of them 0 [segments].
        classes: class of each segment, the first of them meaningless [segments].
        distance: pixels to the nearest true border, 0 on both of its sides [H, W]; infinite where
            there is none.
    """

    ids: Ids
    segments: NDArray[np.int32]
    sizes: NDArray[np.int64]
    classes: NDArray[np.int64]
    distance: NDArray[np.float32]

    @property
    def labelled(self) -> Mask:
        return np.asarray(self.ids != IGNORE)


def look_at(ids: Ids) -> Truth:
    """The geometry of true class ids [H, W]."""
    segments = connected(ids)
    sizes = np.bincount(segments.ravel())
    sizes[0] = 0
    classes = np.zeros(len(sizes), dtype=np.int64)
    classes[segments.ravel()] = ids.ravel()
    edges = borders(ids)
    distance: NDArray[np.float32] = np.full(ids.shape, np.inf, dtype=np.float32)
    if edges.any():
        away = cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, 5)
        distance = np.asarray(away, dtype=np.float32)
    return Truth(ids, segments, sizes, classes, distance)


def connected(ids: Ids) -> NDArray[np.int32]:
    """Numbers from 1 for the 8-connected segments of equal ids, 0 where ignored [H, W]."""
    numbers = np.zeros(ids.shape, dtype=np.int32)
    known = 0
    present = np.flatnonzero(np.bincount(ids.ravel(), minlength=256)[:IGNORE])
    for value in present.tolist():  # a NumPy integer would make the comparison one of 64 bits
        mask = (ids == value).view(np.uint8)
        left, top, width, height = cv2.boundingRect(mask)
        box = (slice(top, top + height), slice(left, left + width))
        count, labels = cv2.connectedComponents(mask[box], connectivity=8)
        labels += known
        cv2.copyTo(labels, mask[box], numbers[box])
        known += count - 1
    return numbers


def borders(ids: Ids) -> Mask:
    """The pixels that have one of another class, not of ignore, above, below or beside [H, W]."""
    found = np.zeros(ids.shape, dtype=bool)
    for one, other in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        a, b = ids[one], ids[other]
        apart = (a != b) & (a != IGNORE) & (b != IGNORE)
        found[one] |= apart
        found[other] |= apart
    return found


def kinds(truth: Truth, predicted: Ids, width: float) -> NDArray[np.int8]:
    """The :class:`Kind` of each wrong pixel, -1 where it is right or ignored [H, W].

    Args:
        truth: of the image.
        predicted: class ids [H, W].
        width: how near to a true border an error counts as its, in pixels.
    """
    predicted = np.where(truth.labelled, predicted, IGNORE)
    wrong = np.flatnonzero(predicted != truth.ids)
    found = np.full(truth.ids.shape, -1, dtype=np.int8)
    found.ravel()[wrong] = kinds_of(truth, predicted, wrong, width)
    return found


def kinds_of(
    truth: Truth, predicted: Ids, wrong: NDArray[np.intp], width: float
) -> NDArray[np.uint8]:
    """The :class:`Kind` of each wrong pixel [n].

    Args:
        truth: of the image.
        predicted: class ids, 255 where the truth is [H, W].
        wrong: where they differ, as indices of the flattened image [n].
        width: how near to a true border an error counts as its, in pixels.
    """
    made = connected(predicted)
    missed = _wholly_wrong(truth.segments.ravel()[wrong], truth.sizes)
    made_up = _wholly_wrong(made.ravel()[wrong], np.bincount(made.ravel()))
    near = truth.distance.ravel()[wrong] <= width
    found = np.where(near, np.uint8(Kind.BOUNDARY), np.uint8(Kind.EXTENT))
    found[missed | made_up] = Kind.SEGMENT
    return found


def _wholly_wrong(segments: NDArray[np.int32], sizes: NDArray[np.int64]) -> Mask:
    """Of each wrong pixel, whether all of its segment is wrong, but for TOUCHED [n]."""
    hits = sizes - np.bincount(segments, minlength=len(sizes))
    wholly = hits <= TOUCHED * sizes
    wholly[0] = False
    return np.asarray(wholly[segments])


def depth(ids: Ids) -> NDArray[np.uint8]:
    """How many steps of the 8-neighbourhood each pixel is from the outside of its class [H, W].

    1 at its border, which that of the image and of what is ignored are too; 0 where it is ignored,
    255 from there on. Eroding a class's mask d times with a 3 x 3 square takes away what is at
    most d deep: the band of Boundary IoU (Cheng et al., CVPR 2021). One transform does for all
    classes: the nearest pixel of another class lies just behind the nearest border pixel, whosever
    that is.
    """
    square = np.ones((3, 3), dtype=np.uint8)
    largest = cv2.dilate(ids, square, borderType=cv2.BORDER_CONSTANT, borderValue=IGNORE)
    inner = (largest == cv2.erode(ids, square)) & (ids != IGNORE)
    away = cv2.distanceTransform(inner.view(np.uint8), cv2.DIST_C, 3)
    return np.asarray(cv2.convertScaleAbs(away, beta=1) * (ids != IGNORE))  # away + 1, in 8 bits
