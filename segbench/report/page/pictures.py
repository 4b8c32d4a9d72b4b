"""The pictures that stand in a page."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segbench.analysis.areas import Area
from segbench.analysis.errors import Flow
from segbench.analysis.pixels import Task, how_many, places_of, read_ids
from segbench.analysis.segments import Ids, kinds, look_at
from segbench.analysis.study import StudyRuns
from segbench.data.classes import IGNORE
from segbench.parallel import in_processes, watched
from segbench.report.gallery import CAUSES, KINDS, around, colors_of, image_of, worst
from segbench.report.page.content import Gallery, Layers

SIDE = 256  # of a crop in pixels, at most
KIND_NAMES = ("right", "at a border", "inside a segment", "a whole segment")

Colors = Mapping[int, tuple[int, ...]]


@dataclass(frozen=True)
class Place:
    """A crop to show: where it lies in an image, and what for."""

    area: Area
    cause: str
    truth: str


def gallery(
    name: str,
    study: StudyRuns,
    tasks: Mapping[str, Sequence[Task]],
    flows: Sequence[Flow],
    width: float,
    workers: int,
) -> Gallery | None:
    """The worst places of the largest confusions of the first arm, as every arm sees them.

    A prediction is what most of an arm's seeds say; ties go to the lower class id.

    Args:
        name: of the gallery, for links.
        study: the runs.
        tasks: by arm, the one that is looked into first, in the order of the study's images.
        flows: of that arm, what costs most first.
        width: of a boundary error in pixels.
        workers: processes.
    """
    main = next(iter(tasks.values()))
    pairs = [
        (study.classes.index(f.truth), study.classes.index(f.predicted)) for f in flows[:CAUSES]
    ]
    found = in_processes(partial(places_of, pairs=pairs), main, workers)
    areas = [area for of_image in found for area in of_image]
    places: dict[str, list[tuple[int, Place]]] = {}
    number = 0
    for pair in pairs:
        truth, predicted = (study.classes[k] for k in pair)
        for area in worst(areas, *pair):
            place = Place(area, f"{truth} called {predicted}", truth)
            places.setdefault(area.image, []).append((number, place))
            number += 1
    if not places:
        return None
    colors = colors_of(study)
    jobs = [
        Job({arm: of_arm[i] for arm, of_arm in tasks.items()}, places[task.name])
        for i, task in enumerate(main)
        if task.name in places
    ]
    look = partial(layers_of, colors=colors, width=width)
    cut = watched(in_processes(look, jobs, workers), len(jobs), "gallery")
    ordered = sorted((one for of_image in cut for one in of_image), key=lambda one: one[0])
    return Gallery(
        name,
        [one for _, one in ordered],
        list(tasks),
        [(study.classes[k], css(colors[k])) for k in range(len(study.classes)) if k in colors],
        [(words, css(color)) for words, color in zip(KIND_NAMES, KINDS, strict=True)],
    )


@dataclass(frozen=True)
class Job:
    """An image, where each arm's pixels of it lie, and its numbered places."""

    tasks: Mapping[str, Task]
    places: Sequence[tuple[int, Place]]


def layers_of(job: Job, colors: Colors, width: float) -> list[tuple[int, Layers]]:
    """Cut the places of one image out of everything that is known of it."""
    main = next(iter(job.tasks.values()))
    truth = look_at(read_ids(main.truth))
    shape = truth.ids.shape
    image = image_of(main, shape)
    votes, errors = {}, {}
    for arm, task in job.tasks.items():
        said = np.stack([read_ids(path, shape) for path in task.predictions])
        if task is main:
            agreed = (255 * (how_many(said, truth.ids) / len(said))).astype(np.uint8)
        votes[arm] = majority(said)
        errors[arm] = (kinds(truth, votes[arm], width) + 1).astype(np.uint8)
    made = []
    for number, place in job.places:
        top, left, bottom, right = around(place.area, shape)
        box = (slice(top, bottom), slice(left, right))
        made.append(
            (
                number,
                Layers(
                    image=main.name,
                    place=f"rows {top} to {bottom}, columns {left} to {right}",
                    cause=place.cause,
                    truth=place.truth,
                    image_source=photo(image[box]),
                    truth_source=indexed(truth.ids[box], colors),
                    agreement_source=grey(agreed[box]),
                    predictions={arm: indexed(one[box], colors) for arm, one in votes.items()},
                    errors={
                        arm: indexed(one[box], dict(enumerate(KINDS)))
                        for arm, one in errors.items()
                    },
                ),
            )
        )
    return made


def majority(said: Ids) -> Ids:
    """What most of the seeds say [H, W], of class ids [S, H, W]."""
    if len(said) < 3:
        return np.asarray(said[0])
    open_ = np.flatnonzero(said.max(0) != said.min(0))
    choices = said.reshape(len(said), -1).take(open_, axis=1)
    count = np.zeros(len(open_), dtype=np.uint16)
    winners = np.zeros(len(open_), dtype=np.uint8)
    for k in np.flatnonzero(np.bincount(choices.ravel(), minlength=256)).tolist():
        number = how_many(choices, k)
        np.copyto(winners, k, where=number > count)
        np.maximum(count, number, out=count)
    most = said[0].copy()
    most.ravel()[open_] = winners
    return np.asarray(most)


def photo(part: NDArray[np.uint8]) -> str:
    """A crop of an image, no larger than it is shown."""
    height, width = part.shape[:2]
    factor = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(square(part, 255), _squared(size), interpolation=cv2.INTER_AREA)
    content = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    return as_data(bytes(content), "jpeg")


def indexed(ids: Ids, colors: Colors) -> str:
    """Class ids in their colours; what is ignored is white."""
    picture = Image.fromarray(_reduced(square(ids, IGNORE)))
    palette = np.full((256, 3), 255, dtype=np.uint8)
    for number, color in colors.items():
        palette[number] = color
    picture.putpalette(palette.ravel().tolist())
    return _png(picture)


def grey(values: Ids) -> str:
    """Values in grey."""
    return _png(Image.fromarray(_reduced(square(values, 255))))


def square(part: NDArray[np.uint8], fill: int) -> NDArray[np.uint8]:
    """A crop at the edge of an image, filled up below and to the right."""
    height, width = part.shape[:2]
    side = max(height, width)
    found = np.full((side, side, *part.shape[2:]), fill, dtype=np.uint8)
    found[:height, :width] = part
    return found


def _squared(size: tuple[int, int]) -> tuple[int, int]:
    return max(size), max(size)


def _reduced(ids: Ids) -> Ids:
    """Without mixing classes."""
    side = min(SIDE, len(ids))
    return np.asarray(
        cv2.resize(ids, (side, side), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8
    )


def _png(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "png", optimize=True)
    return as_data(stream.getvalue(), "png")


def as_data(content: bytes, kind: str) -> str:
    """A data URI of a picture of that kind (jpeg, png)."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def css(color: Sequence[int]) -> str:
    """A colour as style sheets write it."""
    return f"rgb({', '.join(map(str, color))})"
