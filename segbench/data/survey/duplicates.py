"""Images that show the same: a perceptual hash, compared by the bits that differ.

It finds an image that was re-encoded, resized, brightened or trimmed by a few pixels. It does not
find frames that overlap in part, nor turned or mirrored copies.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

BITS = 255
"""Of a hash. Unrelated images differ in about half of them."""
NEAR = 48
"""Differing bits up to which two images are near duplicates.

On the 72 Dubai images: copies at JPEG quality 40, half the size, or 15 % brighter differ in at most
32 bits, copies trimmed by 1 % at each side in at most 38, two different images in at least 100.
"""
_THUMB, _FREQUENCIES = 64, 16
_FLAT = 1.0
"""Standard deviation in grey levels of the thumbnail below which nothing but noise is left."""
_BLOCK = 1024


def perceptual_hash(image: NDArray[np.uint8]) -> NDArray[np.uint64] | None:
    """The signs of an RGB image's low frequencies, uint64 [4]; None for a flat image.

    Every frequency has one bit, whatever its strength, so that a black border or one bright roof
    does not outweigh the rest.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    thumb = cv2.resize(grey, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA).astype(np.float32)
    if thumb.std() < _FLAT:
        return None
    low = cv2.dct(thumb)[:_FREQUENCIES, :_FREQUENCIES].ravel()
    bits = low > np.median(low[1:])
    bits[0] = False  # the mean brightness
    return np.packbits(bits).view(np.uint64)


def pairs_within(hashes: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """Rows (i, j, differing bits), i < j, of the hashes [n, 4] that differ in at most ``bits``."""
    return np.concatenate([np.empty((0, 3), np.int64), *_blocks(hashes, bits)])


def _blocks(hashes: NDArray[np.uint64], bits: int) -> Iterator[NDArray[np.int64]]:
    """Block by block: all distances at once would not fit for tens of thousands of images."""
    for top in range(0, len(hashes), _BLOCK):
        for left in range(top, len(hashes), _BLOCK):
            rows, columns = hashes[top : top + _BLOCK].T, hashes[left : left + _BLOCK].T
            distance = np.zeros((rows.shape[1], columns.shape[1]), np.uint16)
            for row, column in zip(rows, columns, strict=True):
                distance += np.bitwise_count(row[:, None] ^ column)
            i, j = np.nonzero(distance <= bits)
            found = np.stack([i + top, j + left, distance[i, j]], 1)
            yield found[found[:, 0] < found[:, 1]]


def clusters(number: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """What hangs together among 0..number-1, where it is more than one, each in order."""
    leader = list(range(number))

    def led_by(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for i, j in links:
        first, second = sorted((led_by(i), led_by(j)))
        leader[second] = first
    members: dict[int, list[int]] = {}
    for i in range(number):
        members.setdefault(led_by(i), []).append(i)
    return [found for found in members.values() if len(found) > 1]
