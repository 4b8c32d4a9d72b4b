"""Colour or context: how well two classes can be told apart without knowing what is around."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.analysis.segments import Ids

Floats = NDArray[np.float64]

WINDOWS = (5, 15)
"""Sides of the squares of which mean and deviation are taken, in pixels."""

FOLDS = 5


@dataclass(frozen=True)
class Sample:
    """Pixels of some images.

    Args:
        features: colour and texture [n, F].
        classes: true ids [n].
        groups: a number for the group of images each is from [n].
    """

    features: Floats
    classes: NDArray[np.int64]
    groups: NDArray[np.int64]


def texture(image: Ids, places: NDArray[np.intp]) -> Floats:
    """Colour, and its mean and deviation nearby, at some pixels of an image.

    Args:
        image: [H, W, 3].
        places: indices of the flattened image [n].

    Returns:
        features [n, 15].
    """
    parts = [image.reshape(-1, 3)[places].astype(np.float64)]
    for side in WINDOWS:
        mean, square = (
            blur(image, cv2.CV_32F, (side, side)).reshape(-1, 3)[places].astype(np.float64)
            for blur in (cv2.boxFilter, cv2.sqrBoxFilter)
        )
        parts += [mean, np.sqrt(np.maximum(square - mean**2, 0))]
    return np.concatenate(parts, axis=1) / 255


def sample_pixels(
    images: Iterable[tuple[Ids, Ids]],
    groups: Sequence[int],
    classes: int,
    most: int,
    rng: np.random.Generator,
) -> Sample:
    """Pixels of each class, as many of each from every image that has it.

    Args:
        images: image [H, W, 3] and true ids [H, W] of each; one is held at a time.
        groups: the group of each image.
        classes: K.
        most: pixels of a class from an image.
        rng: where places come from.
    """
    features, labels, origins = [], [], []
    for (image, ids), group in zip(images, groups, strict=True):
        of_class = [np.flatnonzero(ids == k) for k in range(classes)]
        taken = np.concatenate(
            [rng.choice(places, min(most, len(places)), replace=False) for places in of_class]
        )
        features.append(texture(image, taken))
        labels.append(ids.ravel()[taken].astype(np.int64))
        origins.append(np.full(len(taken), group))
    return Sample(np.concatenate(features), np.concatenate(labels), np.concatenate(origins))


def separability(sample: Sample, one: int, other: int) -> float | None:
    """How well logistic regression tells two classes apart on images it has not seen.

    Returns:
        the area under the ROC curve, .5 (not at all) to 1, of predictions from folds by group;
        None where fewer than two groups show both classes.
    """
    from sklearn.linear_model import LogisticRegression  # costs a second
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    chosen = np.isin(sample.classes, (one, other))
    x, y = sample.features[chosen], sample.classes[chosen] == one
    groups = sample.groups[chosen]
    both = [g for g in np.unique(groups) if 0 < y[groups == g].mean() < 1]
    if len(both) < 2:
        return None
    said = np.full(len(y), np.nan)
    for train, test in GroupKFold(min(FOLDS, len(np.unique(groups)))).split(x, y, groups):
        if len(np.unique(y[train])) == 2:
            model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
            said[test] = model.fit(x[train], y[train]).decision_function(x[test])
    known = ~np.isnan(said)
    if len(np.unique(y[known])) < 2:
        return None
    return float(roc_auc_score(y[known], said[known]))
