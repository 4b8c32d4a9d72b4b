"""All that is known of what an arm gets wrong: counted, explained, put into sentences."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from segbench import metrics
from segbench.analysis import errors, findings
from segbench.analysis.areas import Area
from segbench.analysis.ceiling import Ceilings, Crop, ceiling, crops_of_classes
from segbench.analysis.compare import compare
from segbench.analysis.errors import ClassErrors, Flow
from segbench.analysis.findings import Finding
from segbench.analysis.influence import Influence, influences
from segbench.analysis.pixels import Counts, Task, errors_of, read_ids, summed
from segbench.analysis.questions import completed_look, rules_of
from segbench.analysis.segments import Ids
from segbench.analysis.separability import sample_pixels, separability
from segbench.analysis.study import StudyArm, StudyRuns
from segbench.errors import InputError
from segbench.parallel import begun, in_threads, watched
from segbench.pictures import read_photo
from segbench.taps import stride_of

STRIDES = (8, 16, 32)
CROP = 192  # of the truth, for the stride ceiling
CROPS = 3  # for each class
PAIRS = 6  # of classes, whose colours are compared
PIXELS = 200  # of a class in an image, for that


@dataclass(frozen=True)
class Errors:
    """All that is known of what an arm gets wrong."""

    arm: str
    flows: list[Flow]
    classes: list[ClassErrors]
    kinds: dict[str, float]
    ceilings: Ceilings
    separable: dict[tuple[str, str], float | None]
    doubts: list[Area]
    influences: list[Influence]
    findings: list[Finding]

    def as_json(self) -> dict[str, Any]:
        """``confusion``, ``classes``, ``findings`` and what stands beside them."""
        best, reached = self.ceilings.best.items(), self.ceilings.reached
        return {
            "arm": self.arm,
            "confusion": [asdict(flow) for flow in self.flows],
            "classes": [
                asdict(one)
                | {"stride_ceiling": {str(s): by_class[one.name] for s, by_class in best}}
                | {"iou_in_crops": reached[one.name]}
                | {"missed_objects": {
                    size: round(number * (1 - one.found[size])) if number else 0
                    for size, number in one.objects.items()
                }}
                for one in self.classes
            ],
            "iou_lost_by_kind": self.kinds,
            "colour_auc": [
                {"classes": list(pair), "auc": auc} for pair, auc in self.separable.items()
            ],
            "doubtful_labels": [asdict(area) for area in self.doubts],
            "influence": [asdict(one) for one in self.influences],
            "findings": [asdict(one) for one in self.findings],
        }  # fmt: skip


def look_into(
    study: StudyRuns, arm: StudyArm, tasks: Sequence[Task], boundary: float, workers: int
) -> Errors:
    """Look into the stored predictions of an arm.

    Args:
        study: the runs.
        arm: whose errors.
        tasks: where the pixels of its test images lie, and those of all arms, its witnesses.
        boundary: pixels from a true border within which an error counts as its.
        workers: processes.
    """
    look = partial(errors_of, classes=len(study.classes), width=boundary)
    one_thread = threadpool_limits(1, user_api="blas")  # of small matrices: more would only spin
    with one_thread, begun(look, tasks, workers) as looked_at:
        crops = _crops(study, tasks)
        best = _best_in(crops, study.classes)
        separable = _separable(study, tasks, errors.costliest(arm.counts().sum(1)))
        influence = _influences(study)
        images = list(watched(looked_at, len(tasks), "predictions"))
    counts = summed(images)
    _check_counted(study, arm, tasks, counts["confusion"])
    ceilings = Ceilings(best, _reached_in(crops, study.classes, tasks))
    flows, classes = errors.flows(study, counts), errors.classes(study, counts)
    doubts = sorted(
        (area for one in images for area in one.doubts), key=lambda a: -a.pixels * a.share
    )
    return Errors(
        arm.name,
        flows,
        classes,
        errors.kinds_total(counts),
        ceilings,
        separable,
        doubts,
        influence,
        _findings(arm, counts, flows, classes, ceilings, separable, len(doubts)),
    )


def _influences(study: StudyRuns) -> list[Influence]:
    """Of the verdicts that there are: those of the last look that is complete."""
    complete = completed_look(study)
    if complete is None or len(complete.arms) < 2:
        return []
    rules = rules_of(complete, {})
    return influences(complete, rules, compare(complete, rules, bootstrap=False))


def _check_counted(study: StudyRuns, arm: StudyArm, tasks: Sequence[Task], found: Counts) -> None:
    """Hold the pictures of an arm against what its runs counted when they made them.

    Args:
        study: the runs.
        arm: whose pictures.
        tasks: where they lie, in the order of the study's images.
        found: their confusion [n, S, K, K].

    Raises:
        InputError: a picture is another.
    """
    counted = arm.counts().swapaxes(0, 1)
    for image, seed in np.argwhere((counted != found).any((2, 3)))[:1]:
        raise InputError(
            f"{tasks[image].predictions[seed]}: is not the picture that its run counted, by its "
            "counts.npz; test its run again"
        )


def _findings(
    arm: StudyArm,
    counts: dict[str, Counts],
    flows: list[Flow],
    classes: list[ClassErrors],
    ceilings: Ceilings,
    separable: dict[tuple[str, str], float | None],
    doubts: int,
) -> list[Finding]:
    seeds = counts["flow"].shape[1]
    together = errors.agreement(counts)
    pixels, without = errors.without_doubtful_labels(counts)
    stride = stride_of(arm.first_run.read_config()["model"])
    found = [
        *findings.of_flows(flows, seeds, separable),
        *findings.of_ceilings(ceilings, stride),
        *findings.of_objects(classes),
        findings.of_frequency(classes),
        findings.of_agreement(together, seeds),
        findings.of_labels(pixels, doubts, together.mean_iou, without),
    ]
    return sorted((one for one in found if one), key=lambda one: -one.iou_lost)


def _crops(study: StudyRuns, tasks: Sequence[Task]) -> list[Crop]:
    truths = (read_ids(task.truth) for task in tasks)
    return crops_of_classes(truths, len(study.classes), CROP, CROPS, np.random.default_rng(0))


def _best_in(crops: Sequence[Crop], classes: Sequence[str]) -> dict[int, dict[str, float]]:
    """IoU of each class in crops, of the best map of each stride."""
    found = {}
    for stride in watched(STRIDES, len(STRIDES), "stride ceilings"):
        iou = metrics.class_iou(ceiling((crop.truth for crop in crops), stride, len(classes)))
        found[stride] = dict(zip(classes, map(float, iou), strict=True))
    return found


def _reached_in(
    crops: Sequence[Crop], classes: Sequence[str], tasks: Sequence[Task]
) -> dict[str, float]:
    """IoU of each class in crops, of predictions that were checked, over all seeds."""
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for image in {crop.image for crop in crops}:
        for said in map(read_ids, tasks[image].predictions):
            for crop in crops:
                if crop.image == image:
                    counts += metrics.confusion(crop.truth, crop.of(said), len(classes))
    return dict(zip(classes, map(float, metrics.class_iou(counts)), strict=True))


def _separable(
    study: StudyRuns, tasks: Sequence[Task], costliest: Sequence[tuple[int, int]]
) -> dict[tuple[str, str], float | None]:
    """How well colour tells apart the classes that are confused most."""
    pairs = dict.fromkeys((min(pair), max(pair)) for pair in costliest)
    if not pairs:
        return {}
    images = in_threads(_image_and_truth, tasks, len(tasks), "colours")
    names = {name: number for number, name in enumerate(dict.fromkeys(study.group_names))}
    groups = [names[name] for name in study.group_names]
    if len(names) < 2:  # one flight: at least the images are apart
        groups = list(range(len(tasks)))
    rng = np.random.default_rng(0)
    sample = sample_pixels(images, groups, len(study.classes), PIXELS, rng)
    found = {}
    for pair in list(pairs)[:PAIRS]:
        first, second = sorted(study.classes[k] for k in pair)
        found[first, second] = separability(sample, *pair)
    return found


def _image_and_truth(task: Task) -> tuple[Ids, Ids]:
    """A test image as it is stored, reduced, with its truth at that size."""
    image = read_photo(task.image)
    truth = cv2.resize(
        read_ids(task.truth), image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT
    )
    return image, np.asarray(truth, dtype=np.uint8)
