"""The worst places of the largest confusions, as pictures."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segbench.analysis.areas import Area
from segbench.analysis.errors import Flow
from segbench.analysis.pixels import Task, places_of, read_ids
from segbench.analysis.segments import Ids, kinds, look_at
from segbench.analysis.study import StudyRuns
from segbench.data.classes import IGNORE
from segbench.files import write_atomic
from segbench.parallel import in_processes
from segbench.pictures import read_photo

CAUSES = 6
WORST = 10
SIDE = 256  # of a panel, in pixels
AROUND = 32  # pixels of the image that are shown around a place

KINDS = ((220, 220, 220), (0, 114, 178), (230, 159, 0), (213, 94, 0))
"""Colours of right, boundary, extent and whole segment (Okabe & Ito, 2008)."""

Rgb = NDArray[np.uint8]


def write_gallery(
    folder: Path,
    study: StudyRuns,
    tasks: Sequence[Task],
    flows: Sequence[Flow],
    width: float,
    workers: int,
) -> int:
    """Write the worst crops of the largest confusions; how many.

    Each is one strip: image, truth, prediction, kind of error (blue at a border, orange inside a
    segment, red a whole segment), and how many of the seeds are wrong (black: all). Its name
    says the image and the place.

    Args:
        folder: gets one folder per confusion, in the order of what they cost.
        study: the runs.
        tasks: where the pixels lie.
        flows: what costs most first.
        width: of a boundary error in pixels.
        workers: processes that look for the places.
    """
    written = 0
    pairs = [
        (study.classes.index(flow.truth), study.classes.index(flow.predicted))
        for flow in flows[:CAUSES]
    ]
    look = partial(places_of, pairs=pairs)
    places = [area for found in in_processes(look, tasks, workers) for area in found]
    by_name = {task.name: task for task in tasks}
    colors = colors_of(study)
    for number, (flow, pair) in enumerate(zip(flows, pairs, strict=False), 1):
        for rank, area in enumerate(worst(places, *pair), 1):
            strip = _strip(study, by_name[area.image], area, colors, width)
            top, left, _, _ = area.box
            name = f"{rank:02d}_{area.image}_y{top}_x{left}.png"
            where = folder / f"{number}_{_slug(flow.truth)}_as_{_slug(flow.predicted)}"
            where.mkdir(parents=True, exist_ok=True)
            encoded = cv2.imencode(".png", np.ascontiguousarray(strip[..., ::-1]))[1]
            write_atomic(where / name, bytes(encoded))
            written += 1
    return written


def worst(places: Sequence[Area], truth: int, predicted: int) -> list[Area]:
    """The largest places of one confusion on which the seeds agree most, the worst first."""
    of_pair = [one for one in places if (one.truth, one.predicted) == (truth, predicted)]
    return sorted(of_pair, key=lambda one: (-one.pixels * one.share, one.image, one.box))[:WORST]


def _strip(
    study: StudyRuns, task: Task, area: Area, colors: Mapping[int, tuple[int, ...]], width: float
) -> Rgb:
    truth = look_at(read_ids(task.truth))
    shape = truth.ids.shape
    predictions = np.stack([read_ids(path, shape) for path in task.predictions])
    clearest = int(np.argmax([(p == area.predicted)[area.inside].sum() for p in predictions]))
    kind = kinds(truth, predictions[clearest], width) + 1
    top, left, bottom, right = around(area, shape)
    shown = (slice(top, bottom), slice(left, right))
    wrong = (predictions[:, *shown] != truth.ids[shown]).mean(0)
    panels = [
        image_of(task, shape)[shown],
        _painted(truth.ids[shown], colors),
        _painted(predictions[clearest][shown], colors),
        np.asarray(KINDS, dtype=np.uint8)[kind[shown]],
        np.repeat((255 * (1 - wrong)).astype(np.uint8)[..., None], 3, axis=2),
    ]
    gap = np.full((SIDE, 4, 3), 255, dtype=np.uint8)
    parts = [_panel(panel) for panel in panels]
    return np.concatenate([p for part in parts for p in (part, gap)][:-1], axis=1)


def around(area: Area, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """A square around a place, as far as the image reaches."""
    top, left, bottom, right = area.box
    side = max(bottom - top, right - left) + 2 * AROUND
    middle = ((top + bottom) // 2, (left + right) // 2)
    begin = [max(0, m - side // 2) for m in middle]
    end = [min(length, b + side) for b, length in zip(begin, shape, strict=True)]
    return begin[0], begin[1], end[0], end[1]


def _panel(part: Rgb) -> Rgb:
    """A crop, enlarged without mixing classes, on a white square."""
    factor = SIDE / max(part.shape[:2])
    size = (max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor)))
    found = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    found[: size[1], : size[0]] = cv2.resize(part, size, interpolation=cv2.INTER_NEAREST)
    return found


def image_of(task: Task, shape: tuple[int, ...]) -> Rgb:
    """A test image as the study keeps it, at the size of its truth; white where it is not kept."""
    if not task.image.exists():
        return np.full((*shape, 3), 255, dtype=np.uint8)
    large = cv2.resize(read_photo(task.image), shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, dtype=np.uint8)


def _painted(ids: Ids, colors: Mapping[int, tuple[int, ...]]) -> Rgb:
    palette = np.zeros((256, 3), dtype=np.uint8)
    for number, color in colors.items():
        palette[number] = color
    palette[IGNORE] = 255
    return np.asarray(palette[ids])


def colors_of(study: StudyRuns) -> dict[int, tuple[int, ...]]:
    """Of the classes, red, green, blue by id."""
    classes = study.arms[0].seeds[0].records[0]["classes"]
    return {one["id"]: tuple(one["color"]) for one in classes}


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name).strip("-")
