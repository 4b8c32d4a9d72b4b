"""What needs no network: the majority class, and logistic regression on each pixel's colour.

    .venv/bin/python benchmarks/colour_baseline.py data/scenes

A network that stays below these has not learned yet. Scores as segbench defines them: macro mean
IoU over the classes with truth, one confusion matrix per split.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from segbench import metrics
from segbench.data.classes import IGNORE
from segbench.data.dataset import Pair, class_pixels, read_data_set, read_image, read_mask

PIXELS_PER_IMAGE = 4000
Predict = Callable[[NDArray[np.uint8]], NDArray[np.int64]]


def sample(pairs: tuple[Pair, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Colours and classes of random labelled pixels."""
    rng = np.random.default_rng(0)
    colours, classes = [], []
    for pair in pairs:
        image, mask = read_image(pair.image).reshape(-1, 3), read_mask(pair.mask).ravel()
        labelled = np.flatnonzero(mask != IGNORE)
        chosen = rng.choice(labelled, min(PIXELS_PER_IMAGE, len(labelled)), replace=False)
        colours.append(image[chosen])
        classes.append(mask[chosen])
    return np.concatenate(colours), np.concatenate(classes)


def counts(pairs: tuple[Pair, ...], predict: Predict, num_classes: int) -> NDArray[np.int64]:
    total = np.zeros((num_classes, num_classes), np.int64)
    for pair in pairs:
        mask = read_mask(pair.mask)
        predicted = predict(read_image(pair.image).reshape(-1, 3)).reshape(mask.shape)
        total += metrics.confusion(mask, predicted, num_classes)
    return total


def main() -> None:
    data = read_data_set(Path(sys.argv[1]))
    names = [c.name for c in data.classes]
    majority = int(class_pixels(data.train, len(names)).argmax())
    colours, classes = sample(data.train)
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    regression.fit(colours, classes)
    predictors: dict[str, Predict] = {
        f"majority ({names[majority]})": lambda pixels: np.full(len(pixels), majority),
        "logistic regression on RGB": lambda pixels: regression.predict(pixels).astype(np.int64),
    }
    for name, predict in predictors.items():
        for split, pairs in (("val", data.val), ("test", data.test)):
            matrix = counts(pairs, predict, len(names))
            ious = " ".join(
                f"{n} {iou:.3f}" for n, iou in zip(names, metrics.class_iou(matrix), strict=True)
            )
            scores = metrics.summary(matrix)
            print(
                f"{name:28s} {split:4s} mean IoU {scores['mean_iou']:.3f} "
                f"acc {scores['mean_acc']:.3f} | {ious}"
            )


if __name__ == "__main__":
    main()
