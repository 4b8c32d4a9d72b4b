"""What the stored predictions of an arm hold, image by image: counts of every kind of error."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.analysis.segments import Ids, Kind, Mask, Truth, depth, kinds, look_at
from segbench.analysis.study import StudyArm, StudyRuns
from segbench.data.classes import IGNORE
from segbench.errors import InputError
from segbench.runs import RunFolder

Counts = NDArray[np.int64]
J = TypeVar("J")
T = TypeVar("T")

BANDS = (2.0, 4.0, 8.0)
"""Widths of the bands of Boundary IoU in pixels; the last one is DIAGONAL of the diagonal."""
DIAGONAL = 0.02
NEAR = (0, 1, 2, 4, 8, 16, 32, np.inf)
"""Bounds of the distances to the true border by which errors are counted, in pixels."""
SIZES = (0, 16**2, 32**2, 96**2, np.inf)
"""Bounds of the sizes of objects in pixels; the middle two are COCO's."""
HIT = 0.5
"""An object is found if this share of its pixels is."""
SURE = 0.9
"""Confidence from which a label is doubted, if all networks agree against it."""
SMALLEST = 64
"""Pixels of the smallest area that is shown or doubted."""


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


@dataclass(frozen=True)
class Area:
    """A connected place in an image: where, how large, and how sure or agreed.

    Args:
        image: its name.
        truth: true class.
        predicted: what most of the seeds say.
        box: top, left, bottom, right in pixels.
        pixels: its size.
        share: of the seeds that say so there, or how sure they are.
    """

    image: str
    truth: int
    predicted: int
    box: tuple[int, int, int, int]
    pixels: int
    share: float


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


def tasks_of(study: StudyRuns, arm: StudyArm) -> list[Task]:
    """Where the pixels of each test image lie, in the order of the study's images.

    Raises:
        InputError: a truth or prediction that is not there.
    """
    found = []
    for name in study.images:
        own = [_stored(seed.runs, name) for seed in arm.seeds if not seed.diverged]
        others = [
            _stored(seed.runs, name)
            for other in study.arms
            if other is not arm
            for seed in other.seeds
            if not seed.diverged
        ]
        truth = arm.seeds[0].runs[0].study_test / "truth" / f"{name}.png"
        if not truth.exists():
            raise InputError(f"{truth}: the study keeps no truth of this test image")
        found.append(
            Task(name, truth, tuple(p for p, _ in own), tuple(c for _, c in own), tuple(others))
        )
    return found


def _stored(runs: Sequence[RunFolder], name: str) -> tuple[Path, Path]:
    for run in runs:  # one per fold
        prediction = run.test / "predictions" / f"{name}.png"
        if prediction.exists():
            return prediction, run.test / "confidence" / f"{name}.png"
    raise InputError(f"{runs[0].test / 'predictions'}: has no prediction of {name}")


def by_image(look: Callable[[J], T], tasks: Sequence[J], workers: int) -> Iterator[T]:
    """``look`` at each image, in order, by processes of which each has one core."""
    if workers < 2 or len(tasks) < 2 * workers:
        yield from map(look, tasks)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        yield from pool.map(look, tasks, chunksize=4)


def _one_thread() -> None:
    cv2.setNumThreads(1)


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
    confidences = np.stack([read_ids(path, shape) for path in task.confidences])
    widths = (*BANDS, DIAGONAL * float(np.hypot(*shape)))
    of_truth = depth(truth.ids)
    inside = truth.labelled
    bins = np.digitize(truth.distance[inside], NEAR[1:-1], right=True)
    true = truth.ids[inside].astype(np.int64)
    parts = [_of_seed(truth, one, classes, width, widths, of_truth, bins) for one in predictions]
    wrong = (predictions != truth.ids)[:, inside].sum(0)
    vote = _vote(predictions[:, inside], confidences[:, inside], classes)
    doubts = _doubts(task, truth, predictions, confidences)
    doubtful = np.zeros(shape, dtype=bool)
    for _, mask in doubts:
        doubtful |= mask
    near = len(NEAR) - 1
    stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    return ImageErrors(
        flow=stacked["flow"],
        confusion=stacked["confusion"],
        band_hits=stacked["band_hits"],
        band_union=stacked["band_union"],
        near_wrong=stacked["near_wrong"],
        found=stacked["found"],
        replaced=stacked["replaced"],
        near_all=_count((true, bins), (classes, near)),
        objects=_count(_objects(truth), (classes, len(SIZES) - 1)),
        agreed=_count((true, wrong), (classes, len(predictions) + 1)),
        ensemble=_count((true, vote), (classes, classes)),
        doubted=np.stack(
            [
                _count((truth.ids[doubtful], one[doubtful]), (classes, classes))
                for one in predictions
            ]
        ),
        doubts=tuple(area for area, _ in doubts),
    )


def _of_seed(
    truth: Truth,
    predicted: Ids,
    classes: int,
    width: float,
    widths: Sequence[float],
    of_truth: NDArray[np.float32],
    bins: NDArray[np.intp],
) -> dict[str, Counts]:
    """The counts of one seed's prediction, by their names in :class:`ImageErrors`."""
    inside = truth.labelled
    true, said = truth.ids[inside].astype(np.int64), predicted[inside].astype(np.int64)
    kind = kinds(truth, predicted, width)
    wrong = kind >= 0
    flow = _count((truth.ids[wrong], predicted[wrong], kind[wrong]), (classes, classes, len(Kind)))
    deep = depth(np.where(inside, predicted, IGNORE).astype(np.uint8))[inside]
    true_deep = of_truth[inside]
    right = true == said
    here, there = (_within(ids, d, widths, classes) for ids, d in ((true, true_deep), (said, deep)))
    hits = _within(true[right], np.maximum(deep, true_deep)[right], widths, classes)
    near = (classes, len(NEAR) - 1)
    near_wrong = _count((true[true != said], bins[true != said]), near)
    found, replaced = _found(truth, predicted, classes)
    return {
        "flow": flow,
        "confusion": _count((true, said), (classes, classes)),
        **{"band_hits": hits, "band_union": here + there - hits, "near_wrong": near_wrong},
        **{"found": found, "replaced": replaced},
    }


def _within(
    ids: NDArray[np.int64], deep: NDArray[np.float32], widths: Sequence[float], classes: int
) -> Counts:
    """Pixels of each class that are no deeper than each width [K, W]."""
    order = np.argsort(widths)
    steps = np.digitize(np.arange(256), np.asarray(widths)[order], right=True)
    bins = steps[np.minimum(deep, 255).astype(np.uint8)]  # depths are whole numbers
    counts = _count((ids, bins), (classes, len(widths) + 1)).cumsum(1)
    return np.asarray(counts[:, np.argsort(order)])


def _objects(truth: Truth) -> tuple[Counts, NDArray[np.intp]]:
    return truth.classes[1:], np.digitize(truth.sizes[1:], SIZES[1:-1])


def _found(truth: Truth, predicted: Ids, classes: int) -> tuple[Counts, Counts]:
    """Objects that were found [K, Z], and the others by what took their place [K, K]."""
    number, inside = len(truth.sizes), truth.labelled
    taken = _count((truth.segments[inside], predicted[inside]), (number, classes))
    hits = taken[np.arange(number), truth.classes % classes]
    hit = (hits >= HIT * truth.sizes)[1:]
    kind, size = _objects(truth)
    found = _count((kind[hit], size[hit]), (classes, len(SIZES) - 1))
    taken[np.arange(number), truth.classes % classes] = -1
    replaced = _count((kind[~hit], taken[1:][~hit].argmax(1)), (classes, classes))
    return found, replaced


def _vote(predictions: Ids, confidences: Ids, classes: int) -> NDArray[np.intp]:
    """What the seeds say together [n], of ids and confidences [S, n]."""
    said = predictions[0].astype(np.intp)
    open_ = np.flatnonzero((predictions != predictions[0]).any(0))
    votes = np.zeros((classes, len(open_)), dtype=np.int32)
    place = np.arange(len(open_))
    for one, sure in zip(predictions[:, open_], confidences[:, open_], strict=True):
        votes[one, place] += sure.astype(np.int32) + 1
    said[open_] = votes.argmax(0)
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
    found: list[Area] = []
    for true, predicted in pairs:
        share = (predictions == predicted).mean(0)
        mask = (truth == true) & (share >= 0.5)
        found += [area for area, _ in _areas(task.name, mask, true, predicted, share)[:most]]
    return found


def _doubts(
    task: Task, truth: Truth, predictions: Ids, confidences: Ids
) -> list[tuple[Area, Mask]]:
    """Areas in which every run of every arm is sure of the same other class."""
    shape = truth.ids.shape
    said, least = predictions[0], confidences.min(0)
    same = (predictions == said).all(0)
    candidates = same & truth.labelled & (said != truth.ids) & (least >= SURE * 255)
    for prediction, confidence in task.others:
        if not candidates.any():
            return []
        least = np.minimum(least, read_ids(confidence, shape))
        candidates &= (read_ids(prediction, shape) == said) & (least >= SURE * 255)
    found = []
    for true in np.unique(truth.ids[candidates]):
        for k in np.unique(said[candidates & (truth.ids == true)]):
            mask = candidates & (truth.ids == true) & (said == k)
            found += _areas(task.name, mask, int(true), int(k), least / 255)
    return found


def _areas(
    name: str, mask: Mask, true: int, predicted: int, share: NDArray[np.floating]
) -> list[tuple[Area, Mask]]:
    """The connected parts of a mask that are large enough to be seen, the largest first."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    found = []
    for number in 1 + np.flatnonzero(stats[1:count, cv2.CC_STAT_AREA] >= SMALLEST):
        left, top, w, h, pixels = (int(v) for v in stats[number])
        box = (slice(top, top + h), slice(left, left + w))
        part = np.zeros(mask.shape, dtype=bool)
        part[box] = labels[box] == number
        bounds = (top, left, top + h, left + w)
        area = Area(name, true, predicted, bounds, pixels, float(share[box][part[box]].mean()))
        found.append((area, part))
    return sorted(found, key=lambda one: -one[0].pixels)


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
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 2 or picture.dtype != np.uint8:
        raise InputError(f"{path}: not readable as a picture of 8 bits; test its run again")
    if shape is not None and picture.shape != shape:
        raise InputError(f"{path}: has another size than the truth of its image")
    return np.asarray(picture, dtype=np.uint8)
