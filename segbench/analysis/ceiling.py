"""The stride ceiling: how good the best logits of a coarse map could be."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segbench import metrics
from segbench.analysis.segments import Ids
from segbench.data.classes import IGNORE

Floats = NDArray[np.float32]

STEPS = 60
RATE = 0.3


@dataclass(frozen=True)
class Crop:
    """A place in one of the test images, with its true class ids, padded with ignore."""

    image: int
    top: int
    left: int
    truth: Ids

    def of(self, ids: Ids) -> Ids:
        """The same place of other class ids of its image."""
        return _cut(ids, self.top, self.left, len(self.truth))


@dataclass(frozen=True)
class Ceilings:
    """IoU of each class in crops: the best by stride, and what the network reached in the same."""

    best: dict[int, dict[str, float]]
    reached: dict[str, float]


def best_logits(truth: Ids, stride: int, classes: int) -> Floats:
    """Logits of a map of a stride, fitted to the truth itself: cross-entropy after upsampling.

    A network whose last map has this stride and is upsampled bilinearly can reach no other
    scores, whatever it has learnt. Pooling the truth and going back gives less: what is best
    under upsampling overshoots at borders. Adam (Kingma & Ba, 2015) from the pooled truth.

    Args:
        truth: class ids [H, W], 255 = ignore; sides divide by ``stride``.
        stride: image pixels per pixel of the map.
        classes: K.

    Returns:
        logits of the map [K, H / stride, W / stride].
    """
    height, width = truth.shape
    rows, columns = (_upsampling(side, stride) for side in (height, width))
    wanted = (truth == np.arange(classes, dtype=np.uint8)[:, None, None]).astype(np.float32)
    weight = (truth != IGNORE).astype(np.float32) / max(1, int((truth != IGNORE).sum()))
    pooled = wanted.reshape(classes, height // stride, stride, width // stride, stride)
    logits = np.log(pooled.mean((2, 4)) + 0.02)
    first, second = np.zeros_like(logits), np.zeros_like(logits)
    for step in range(1, STEPS + 1):
        up = rows @ logits @ columns.T
        up -= up.max(0)
        np.exp(up, out=up)
        up /= up.sum(0)
        gradient = rows.T @ ((up - wanted) * weight) @ columns
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        scale = np.sqrt(second / (1 - 0.999**step)) + 1e-12
        logits -= RATE * (first / (1 - 0.9**step)) / scale
    return np.asarray(logits, dtype=np.float32)


def upsampled(logits: Floats, stride: int) -> Floats:
    """Logits of the image from those of the map, as torch's bilinear interpolation has them."""
    rows, columns = (_upsampling(side * stride, stride) for side in logits.shape[1:])
    return np.asarray(rows @ logits @ columns.T, dtype=np.float32)


def _upsampling(side: int, stride: int) -> Floats:
    """The matrix of bilinear upsampling along one side, ``align_corners=False`` [side, cells]."""
    cells = side // stride
    place = np.clip((np.arange(side) + 0.5) / stride - 0.5, 0, cells - 1)
    below = np.minimum(place.astype(int), max(0, cells - 2))
    matrix = np.zeros((side, cells), dtype=np.float32)
    matrix[np.arange(side), below] = 1 - (place - below)
    matrix[np.arange(side), np.minimum(below + 1, cells - 1)] += place - below
    return matrix


def ceiling(truths: Iterable[Ids], stride: int, classes: int) -> NDArray[np.int64]:
    """Confusion counts of the best logits over crops of the truth [K, K]."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    for truth in truths:
        present = np.unique(truth[truth != IGNORE])  # no other class is ever best
        known = np.where(truth == IGNORE, IGNORE, np.searchsorted(present, truth)).astype(np.uint8)
        said = upsampled(best_logits(known, stride, len(present)), stride).argmax(0)
        counts += metrics.confusion(truth, present[said], classes)
    return counts


def crops_of_classes(
    truths: Iterator[Ids], classes: int, side: int, most: int, rng: np.random.Generator
) -> list[Crop]:
    """Square crops around pixels of each class in turn.

    They show classes as often as each other: their scores hold beside each other, and not beside
    those of whole images.

    Args:
        truths: true class ids of the test set's images.
        classes: K.
        side: of a crop, in pixels.
        most: crops for each class, from as many images.
        rng: where places come from.
    """
    taken = [0] * classes
    crops = []
    for number, ids in enumerate(truths):
        if min(taken) >= most:
            break
        for k in range(classes):
            if taken[k] >= most or not (ids == k).any():
                continue
            taken[k] += 1
            y, x = np.argwhere(ids == k)[rng.integers(int((ids == k).sum()))]
            top, left = int(y) - side // 2, int(x) - side // 2
            crops.append(Crop(number, top, left, _cut(ids, top, left, side)))
    return crops


def _cut(ids: Ids, top: int, left: int, side: int) -> Ids:
    padded = np.pad(ids, side, constant_values=IGNORE)
    rows, columns = slice(top + side, top + 2 * side), slice(left + side, left + 2 * side)
    return np.ascontiguousarray(padded[rows, columns])
