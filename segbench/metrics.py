"""Scores from confusion counts, one meaning each.

Counts are [..., K, K] with rows truth and columns prediction, ignored pixels removed. Whatever
produced them, every score in segbench comes from here. A class without truth pixels is left out
of a mean: it is no zero and no one.
"""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer]
Pixels = NDArray[np.uint8]
Scores = NDArray[np.float64]


def confusion(truth: Pixels, predicted: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Counts [K, K] of class ids of the same shape; what is no class in the truth is ignored."""
    inside = truth < classes
    codes = truth[inside].astype(np.int64) * classes + predicted[inside]
    return np.bincount(codes, minlength=classes**2).reshape(classes, classes)


def class_iou(counts: Counts) -> Scores:
    """Intersection over union of each class [..., K]; NaN where it has no truth pixel."""
    hits, truth, predicted = _margins(counts)
    return _ratio(hits, truth + predicted - hits, present=truth > 0)


def class_accuracy(counts: Counts) -> Scores:
    """Share of each class's truth pixels that were found [..., K]; NaN where it has none."""
    hits, truth, _ = _margins(counts)
    return _ratio(hits, truth, present=truth > 0)


def mean_iou(counts: Counts) -> Scores:
    """Mean of :func:`class_iou` over the classes with truth pixels [...]; NaN without any."""
    return _mean_of_present(class_iou(counts))


def mean_class_acc(counts: Counts) -> Scores:
    """Mean of :func:`class_accuracy` over the classes with truth pixels [...]."""
    return _mean_of_present(class_accuracy(counts))


def mean_acc(counts: Counts) -> Scores:
    """Share of all pixels that are right [...]."""
    hits, truth, _ = _margins(counts)
    total = truth.sum(-1)
    return _ratio(hits.sum(-1), total, present=np.greater(total, 0))


def mean_iou_per_image(counts: Counts, absent: float) -> float:
    """What earlier reports printed: mean over images of the mean IoU over *all* classes.

    A class that an image neither shows nor is predicted in scores ``absent`` there. The two
    conventions, 0 and 1, can turn a ranking round, and neither is :func:`mean_iou`.

    Args:
        counts: one matrix per image [n, K, K].
        absent: 0 or 1.
    """
    hits, truth, predicted = _margins(counts)
    union = truth + predicted - hits
    iou = np.where(union > 0, hits / np.maximum(union, 1), absent)
    return float(iou.mean())


def summary(counts: Counts) -> dict[str, float]:
    """The three scores of one summed matrix [K, K], by the names they are logged under."""
    return {
        "mean_iou": float(mean_iou(counts)),
        "mean_class_acc": float(mean_class_acc(counts)),
        "mean_acc": float(mean_acc(counts)),
    }


def _margins(counts: Counts) -> tuple[Scores, Scores, Scores]:
    exact = np.asarray(counts, dtype=np.float64)  # exact up to 2**53 pixels; uint64 would wrap
    return np.diagonal(exact, axis1=-2, axis2=-1), exact.sum(-1), exact.sum(-2)


def _ratio(part: Scores, whole: Scores, present: NDArray[np.bool_]) -> Scores:
    return np.where(present, part / np.where(present, whole, 1.0), np.nan)


def _mean_of_present(scores: Scores) -> Scores:
    present = ~np.isnan(scores)
    return _ratio(np.where(present, scores, 0.0).sum(-1), present.sum(-1), np.any(present, axis=-1))
