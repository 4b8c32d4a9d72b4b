"""What the stored predictions of an arm hold, image by image: counts of every kind of error."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.analysis.areas import SMALLEST, Area, areas_of
from segbench.analysis.segments import Ids, Kind, Mask, Truth, depth, kinds_of, look_at
from segbench.analysis.study import Seed, StudyArm, StudyRuns
from segbench.data.classes import IGNORE
from segbench.errors import InputError
from segbench.pictures import imread

Counts = NDArray[np.int64]

BANDS = (2.0, 4.0, 8.0)
"""Widths of the bands of Boundary IoU in pixels; the last one is DIAGONAL of the diagonal."""
DIAGONAL = 0.02
NEAR = (0, 1, 2, 4, 8, 16, 32, np.inf)
"""Bounds of the distances to the true border by which errors are counted, in pixels."""
SIZES = (0, 16**2, 32**2, 96**2, np.inf)
"""Bounds of the sizes of objects in pixels; the middle two are COCO's."""
HIT = 0.5
"""An object is found if this share of its pixels is."""
EXACT = 2**24
"""Pixels that OpenCV's histograms, whose bins are 32-bit floats, count exactly."""
SURE = 0.9
"""Confidence from which a label is doubted, if all networks agree against it."""


@dataclass(frozen=True)
class Task:
    """Where the pixels of one image lie.

    Args:
        name: of the image.
        truth: true class ids.
        predictions: by seed, of the arm that is looked at.
        confidences: beside them.
        others: predictions and confidences of the other arms' runs, for doubts about labels.
    """

    name: str
    truth: Path
    predictions: tuple[Path, ...]
    confidences: tuple[Path, ...]
    others: tuple[tuple[Path, Path], ...] = ()

    @property
    def image(self) -> Path:
        """The picture itself, reduced."""
        return self.truth.parent.parent / "image" / f"{self.name}.jpg"


@dataclass(frozen=True)
class ImageErrors:
    """The counts of one image; S seeds, K classes.

    Args:
        flow: wrong pixels by truth, prediction and kind [S, K, K, 3].
        confusion: all pixels by truth and prediction [S, K, K].
        band_hits: pixels in the intersection of the bands of truth and prediction [S, K, W].
        band_union: pixels in their union [S, K, W].
        near_wrong: wrong pixels by true class and distance to the border [S, K, D].
        near_all: all pixels by the same [K, D].
        objects: true segments by class and size [K, Z].
        found: those that were found [S, K, Z].
        replaced: those that were not, by the class that took most of their place [S, K, K].
        agreed: pixels by true class and number of seeds that are wrong there [K, S + 1].
        ensemble: pixels by truth and the seeds' vote, weighted by confidence [K, K].
        doubted: pixels by truth and prediction, of areas in ``doubts`` [S, K, K].
        doubts: areas in which all networks are sure of one other class than the label.
    """

    flow: Counts
    confusion: Counts
    band_hits: Counts
    band_union: Counts
    near_wrong: Counts
    near_all: Counts
    objects: Counts
    found: Counts
    replaced: Counts
    agreed: Counts
    ensemble: Counts
    doubted: Counts
    doubts: tuple[Area, ...]


def tasks_of(study: StudyRuns, arm: StudyArm, witnesses: Sequence[StudyArm] = ()) -> list[Task]:
    """Where the pixels of each test image lie, in the order of the study's images.

    Args:
        study: the runs.
        arm: that is looked at.
        witnesses: the arms whose runs have to agree before a label is doubted.

    Raises:
        InputError: a truth or prediction that is not there.
    """
    own = [_stored(seed) for seed in arm.seeds if not seed.diverged]
    others = [
        _stored(seed)
        for other in witnesses
        if other is not arm
        for seed in other.seeds
        if not seed.diverged
    ]
    found = []
    for name in study.images:
        truth = arm.first_run.study_test / "truth" / f"{name}.png"
        if not truth.exists():
            raise InputError(f"{truth}: the study keeps no truth of this test image")
        pictures = [of_seed(name) for of_seed in own]
        found.append(
            Task(
                name,
                truth,
                tuple(prediction for prediction, _ in pictures),
                tuple(confidence for _, confidence in pictures),
                tuple(of_seed(name) for of_seed in others),
            )
        )
    return found


def _stored(seed: Seed) -> Callable[[str], tuple[Path, Path]]:
    """What finds prediction and confidence of an image by its name, in the fold that tested it."""
    # listed once: asking for each file of a large study costs seconds
    tested = {
        path.stem: (path, run.test / "confidence" / path.name)
        for run in reversed(seed.runs)
        for path in (run.test / "predictions").glob("*.png")
    }

    def find(name: str) -> tuple[Path, Path]:
        if name not in tested:
            folder = seed.runs[0].test / "predictions"
            raise InputError(f"{folder}: has no prediction of {name}")
        return tested[name]

    return find


def summed(found: Iterable[ImageErrors]) -> dict[str, Counts]:
    """All counts, stacked by image: the first axis of each [n, ...]."""
    images = list(found)
    names = [field.name for field in fields(ImageErrors) if field.name != "doubts"]
    return {name: np.stack([getattr(one, name) for one in images]) for name in names}


def errors_of(task: Task, classes: int, width: float) -> ImageErrors:
    """Count the errors in one image.

    Raises:
        InputError: a picture that cannot be read, or of another size than the truth.
    """
    truth = look_at(read_ids(task.truth))
    shape = truth.ids.shape
    predictions = np.stack([read_ids(path, shape) for path in task.predictions])
    np.copyto(predictions, IGNORE, where=~truth.labelled)
    confidences = np.stack([read_ids(path, shape) for path in task.confidences])
    image = _image_of(truth, classes)
    seeds = [_of_seed(image, one, width) for one in predictions]
    wrong_seeds = np.uint16(len(predictions)) - how_many(predictions, truth.ids)
    vote = _vote(predictions, confidences, classes)
    outvoted = vote != truth.ids
    doubts = _doubts(task, truth, predictions, confidences, classes)
    doubtful = np.zeros(shape, dtype=bool)
    for area, part in doubts:
        doubtful[area.inside] |= part
    pairs = (classes, classes)
    return ImageErrors(
        **{name: np.stack([seed[name] for seed in seeds]) for name in seeds[0]},
        near_all=_by_class(truth.ids, image.near, (classes, len(NEAR) - 1)),
        objects=_count(_objects(truth), (classes, len(SIZES) - 1)),
        agreed=_by_class(truth.ids, wrong_seeds, (classes, len(predictions) + 1)),
        ensemble=_confusion(image, _count((truth.ids[outvoted], vote[outvoted]), pairs)),
        doubted=np.stack(
            [_count((truth.ids[doubtful], one[doubtful]), pairs) for one in predictions]
        ),
        doubts=tuple(area for area, _ in doubts),
    )


@dataclass(frozen=True)
class _Image:
    """What the prediction of each seed is held against.

    Args:
        truth: its geometry.
        pixels: of each class [K].
        near: how many of the bounds in NEAR the distance to the border exceeds [H, W].
        widths: of the bands, in whole pixels, as depths are [W].
        band: how many of them the depth exceeds [H, W].
        within: pixels of each class that are in each band [K, W].
    """

    truth: Truth
    pixels: Counts
    near: Ids
    widths: tuple[int, ...]
    band: Ids
    within: Counts


def _image_of(truth: Truth, classes: int) -> _Image:
    pixels = np.bincount(truth.ids.ravel(), minlength=256)[:classes]
    near = _exceeded(truth.distance, NEAR[1:-1])
    widths = tuple(int(w) for w in (*BANDS, DIAGONAL * np.hypot(*truth.ids.shape)))
    band = _exceeded(depth(truth.ids), widths)
    return _Image(truth, pixels, near, widths, band, _within(truth.ids, band, widths, classes))


def _exceeded(values: Ids | NDArray[np.float32], bounds: Sequence[float]) -> Ids:
    """How many of the bounds each value exceeds [H, W]."""
    found = np.zeros(values.shape, dtype=np.uint8)
    for bound in bounds:
        found += values > bound
    return found


def _of_seed(image: _Image, predicted: Ids, width: float) -> dict[str, Counts]:
    """The counts of one seed's prediction, by their names in :class:`ImageErrors`."""
    truth, classes = image.truth, len(image.pixels)
    wrong = np.flatnonzero(predicted != truth.ids)
    true, said = truth.ids.ravel()[wrong], predicted.ravel()[wrong]
    kind = kinds_of(truth, predicted, wrong, width)
    flow = _count((true, said, kind), (classes, classes, len(Kind)))
    near = image.near.ravel()[wrong]
    band = _exceeded(depth(predicted), image.widths)
    right = predicted.copy()
    right.ravel()[wrong] = IGNORE
    hits = _within(right, np.maximum(band, image.band), image.widths, classes)
    found, replaced = _found(truth, wrong, said, classes)
    return {
        "flow": flow,
        "confusion": _confusion(image, flow.sum(2)),
        "band_hits": hits,
        "band_union": image.within + _within(predicted, band, image.widths, classes) - hits,
        "near_wrong": _count((true, near), (classes, len(NEAR) - 1)),
        "found": found,
        "replaced": replaced,
    }


def _confusion(image: _Image, wrong: Counts) -> Counts:
    """Counts of all pixels by truth and prediction, from those of the wrong ones [K, K]."""
    return wrong + np.diag(image.pixels - wrong.sum(1))


def _within(ids: Ids, band: Ids, widths: Sequence[int], classes: int) -> Counts:
    """Pixels of each class that are no deeper than each width [K, W]."""
    counts = _by_class(ids, band, (classes, len(widths) + 1)).cumsum(1)
    return np.asarray(counts[:, np.argsort(np.argsort(widths))])


def _objects(truth: Truth) -> tuple[Counts, NDArray[np.intp]]:
    return truth.classes[1:], np.digitize(truth.sizes[1:], SIZES[1:-1])


def _found(truth: Truth, wrong: NDArray[np.intp], said: Ids, classes: int) -> tuple[Counts, Counts]:
    """Objects that were found [K, Z], and the others by what took their place [K, K]."""
    taken = _count((truth.segments.ravel()[wrong], said), (len(truth.sizes), classes))
    hit = (truth.sizes - taken.sum(1) >= HIT * truth.sizes)[1:]
    kind, size = _objects(truth)
    found = _count((kind[hit], size[hit]), (classes, len(SIZES) - 1))
    replaced = _count((kind[~hit], taken[1:][~hit].argmax(1)), (classes, classes))
    return found, replaced


def _vote(predictions: Ids, confidences: Ids, classes: int) -> Ids:
    """What the seeds say together [H, W], of ids and confidences [S, H, W]."""
    seeds = len(predictions)
    open_ = np.flatnonzero(predictions.max(0) != predictions.min(0))
    choices = predictions.reshape(seeds, -1).take(open_, axis=1)
    weights = confidences.reshape(seeds, -1).take(open_, axis=1) + np.uint16(1)
    most = np.zeros(len(open_), dtype=np.uint16)
    winners = np.zeros(len(open_), dtype=np.uint8)
    for k in range(classes):
        votes = np.zeros_like(most)
        for choice, weight in zip(choices, weights, strict=True):
            votes += weight * (choice == k)
        np.copyto(winners, k, where=votes > most)
        np.maximum(most, votes, out=most)
    said = predictions[0].copy()
    said.ravel()[open_] = winners
    return np.asarray(said)


def places_of(task: Task, pairs: Sequence[tuple[int, int]], most: int = 2) -> list[Area]:
    """The largest areas in which at least half of the seeds make the same mistake.

    Args:
        task: an image.
        pairs: mistakes to look for, true class and prediction.
        most: areas of each.
    """
    truth = read_ids(task.truth)
    predictions = np.stack([read_ids(path, truth.shape) for path in task.predictions])
    seeds = len(predictions)
    found: list[Area] = []
    for true, predicted in pairs:
        agree = how_many(predictions, predicted)
        mask = (truth == true) & (agree >= (seeds + 1) // 2)
        found += [
            area for area, _ in areas_of(task.name, mask, true, predicted, agree, seeds)[:most]
        ]
    return found


def how_many(said: Ids, k: int | Ids) -> NDArray[np.uint16]:
    """How many of S ids [S, ...] are ``k``, or that of their place [...]."""
    number = np.zeros(said.shape[1:], dtype=np.uint16)
    for one in said:  # NumPy's sum over the first axis takes five times as long
        number += one == k
    return number


def _doubts(
    task: Task, truth: Truth, predictions: Ids, confidences: Ids, classes: int
) -> list[tuple[Area, Mask]]:
    """Areas in which every run of every arm is sure of the same other class, with their pixels."""
    shape, sure = truth.ids.shape, math.ceil(SURE * 255)
    said, least = predictions[0], confidences.min(0)
    candidates = (predictions == said).all(0) & (said != truth.ids) & (least >= sure)
    for prediction, confidence in task.others:
        if np.count_nonzero(candidates) < SMALLEST:
            return []
        least = np.minimum(least, read_ids(confidence, shape))
        candidates &= (read_ids(prediction, shape) == said) & (least >= sure)
    pixels = _count((truth.ids[candidates], said[candidates]), (classes, classes))
    found = []
    for true, k in np.argwhere(pixels >= SMALLEST).tolist():
        mask = candidates & (truth.ids == true) & (said == k)
        found += areas_of(task.name, mask, true, k, least, 255)
    return found


def _by_class(ids: Ids, steps: NDArray[np.unsignedinteger], shape: tuple[int, int]) -> Counts:
    """How often each step occurs in each class, over all pixels but the ignored ones [shape]."""
    classes, length = shape  # by OpenCV: NumPy takes twice as long
    ids = ids.astype(steps.dtype, copy=False)
    found = np.zeros((256, length), dtype=np.int64)
    rows = max(1, EXACT // ids.shape[1])
    for top in range(0, len(ids), rows):
        part = [ids[top : top + rows], steps[top : top + rows]]
        counts = cv2.calcHist(part, [0, 1], None, [256, length], [0, 256, 0, length])
        found += counts.astype(np.int64)
    return found[:classes]


def _count(columns: Sequence[NDArray[np.integer]], shape: tuple[int, ...]) -> Counts:
    """How often each combination of the columns' values occurs [shape]."""
    flat = columns[0].astype(np.int64)
    for column, length in zip(columns[1:], shape[1:], strict=True):
        flat = flat * length + column
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)


def read_ids(path: Path, shape: tuple[int, ...] | None = None) -> Ids:
    """A picture of class ids or confidences, uint8 [H, W].

    Raises:
        InputError: it cannot be read, or has another size than ``shape``.
    """
    picture = imread(path, cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 2 or picture.dtype != np.uint8:
        raise InputError(f"{path}: not readable as a picture of 8 bits; test its run again")
    if shape is not None and picture.shape != shape:
        raise InputError(f"{path}: has another size than the truth of its image")
    return np.asarray(picture, dtype=np.uint8)
