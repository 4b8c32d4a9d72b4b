"""Whether ASPP could help: which of its taps saw image in training, and which do in evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segbench.analysis.compare import Contrast, judge
from segbench.analysis.configs import config_of, rest_of
from segbench.analysis.questions import SCORES, Question, Rules
from segbench.analysis.study import Seed, StudyArm, StudyRuns
from segbench.errors import InputError
from segbench.pictures import UNREADABLE
from segbench.probes import without_idle_taps_of
from segbench.taps import (
    Pyramid,
    energy_of_idle,
    idle,
    map_side,
    mean_seeing,
    pyramid_of,
    seeing,
    stride_of,
)

OF_ASPP = ("model.aspp", "model.aspp_rates", "model.output_stride")
ZEROED = "idle taps zeroed"


@dataclass(frozen=True)
class Branch:
    """A dilated branch. Shares are of its nine taps at all positions of a map, 0..1.

    Args:
        rate: its dilation in pixels of the map.
        seen_in_training: what sees image and not padding, on the map of a crop.
        seen_in_evaluation: the same on the maps of the test images.
        trained: taps that see image anywhere on a crop.
        idle: taps that do not, but see image in evaluation.
        energy_as_drawn: share of the branch's energy in evaluation that the idle taps bring in as
            long as their weights are as large as all others.
        energy: the same of the trained networks, a mean over seeds; None where not measured.
    """

    rate: int
    seen_in_training: float
    seen_in_evaluation: float
    trained: int
    idle: int
    energy_as_drawn: float
    energy: float | None


@dataclass(frozen=True)
class Context:
    """An arm with ASPP.

    Args:
        arm: its name.
        stride: image pixels per pixel of the map.
        crop_size: side of the training crops in pixels.
        crop_map: side of their map.
        maps: height and width of the smallest and of the largest map in evaluation.
        branches: of its dilated convolutions.
        control: whether it is the control for capacity: rates of 1, no context beyond a 3x3.
        zeroed: its mean IoU with the idle taps set to zero against that as it was trained.
    """

    arm: str
    stride: int
    crop_size: int
    crop_map: int
    maps: tuple[tuple[int, int], tuple[int, int]]
    branches: list[Branch]
    control: bool
    zeroed: Contrast | None

    @property
    def blind(self) -> list[Branch]:
        """Branches of which training saw the centre alone."""
        return [branch for branch in self.branches if branch.trained == 1]

    @property
    def idle(self) -> bool:
        """Whether taps that were never trained see the test images."""
        return any(branch.idle for branch in self.branches)


@dataclass(frozen=True)
class Comparison:
    """An arm with ASPP against the one without, or against the control for capacity.

    ``strides`` are those of the arm and of what it is held against.
    """

    against: str
    strides: tuple[int | None, int | None]
    contrast: Contrast


@dataclass(frozen=True)
class Audit:
    """All that a study says of its ASPP."""

    contexts: list[Context]
    comparisons: list[Comparison]


def pyramids_of(study: StudyRuns) -> list[Pyramid | None]:
    """The ASPP of each arm.

    Raises:
        InputError: none has any.
    """
    found = [pyramid_of(arm.first_run.read_config()["model"]) for arm in study.arms]
    if not any(found):
        raise InputError(
            f"{study.folders[0]}: no arm has ASPP; run a study of it, such as sweeps/aspp.yaml"
        )
    return found


def audit(study: StudyRuns, rules: Rules) -> Audit:
    """Which taps see what, what the idle ones do, and whether ASPP and its context help.

    Raises:
        InputError: no arm has ASPP, or the study keeps no test images.
    """
    pyramids = pyramids_of(study)
    zeroed = _zeroed(study, rules)
    contexts = [
        _context(study, arm, pyramid, zeroed.get(arm.name))
        for arm, pyramid in zip(study.arms, pyramids, strict=True)
        if pyramid is not None
    ]
    return Audit(contexts, _comparisons(study, rules, pyramids))


def maps_in_evaluation(study: StudyRuns, arm: StudyArm, stride: int) -> list[tuple[int, int]]:
    """Height and width of the map of each test image, or of a tile of it, in an arm's network.

    Raises:
        InputError: the study keeps no test images.
    """
    return [
        (map_side(height, stride), map_side(width, stride))
        for height, width in _sizes_in_evaluation(study, arm)
    ]


def _sizes_in_evaluation(study: StudyRuns, arm: StudyArm) -> list[tuple[int, int]]:
    """Height and width in pixels of each test image as an arm's network sees it."""
    folder = arm.first_run.study_test / "truth"
    tile = config_of(arm.first_run).get("data.eval_tile") or 10**9
    found = []
    for name in study.images:
        try:
            with Image.open(folder / f"{name}.png") as truth:
                found.append((min(truth.height, tile), min(truth.width, tile)))
        except UNREADABLE as error:
            raise InputError(
                f"{folder / f'{name}.png'}: not readable, and the sizes of the test images are "
                f"needed ({error}); put the study's test folder back"
            ) from None
    return found


def _context(study: StudyRuns, arm: StudyArm, pyramid: Pyramid, zeroed: Contrast | None) -> Context:
    crop = int(config_of(arm.first_run)["data.crop_size"])
    side = map_side(crop, pyramid.stride)
    maps = maps_in_evaluation(study, arm, pyramid.stride)
    measured = _measured_energy(arm)
    branches = []
    for number, rate in enumerate(pyramid.rates):
        untrained = idle(side, side, rate)
        seen = mean_seeing(maps, rate)
        branches.append(
            Branch(
                rate=rate,
                seen_in_training=float(seeing(side, side, rate).mean()),
                seen_in_evaluation=float(seen.mean()),
                trained=int((~untrained).sum()),
                idle=int((untrained & (seen > 0)).sum()),
                energy_as_drawn=energy_of_idle(untrained, seen),
                energy=float(measured[number]) if measured is not None else None,
            )
        )
    by_area = sorted(maps, key=lambda one: one[0] * one[1])
    ends = (by_area[0], by_area[-1])
    control = _is_control(pyramid)
    return Context(arm.name, pyramid.stride, crop, side, ends, branches, control, zeroed)


def _measured_energy(arm: StudyArm) -> NDArray[np.float64] | None:
    """Mean over the networks of what their idle taps bring in, by branch."""
    probes = [without_idle_taps_of(run) for seed in arm.seeds for run in seed.runs]
    found = [probe.energy for probe in probes if probe]
    return np.mean(found, axis=0) if found else None


def _zeroed(study: StudyRuns, rules: Rules) -> dict[str, Contrast]:
    """Of the arms whose networks were scored without their idle taps; one family.

    The same networks stand on both sides, so that seeds are paired.
    """
    arms: list[StudyArm] = []
    for arm in study.arms:
        pairs = [(seed, _without_idle_taps(study, seed)) for seed in arm.seeds]
        there = [(seed, other) for seed, other in pairs if other is not None]
        if there:
            changed = StudyArm(arm.levels | {"taps": ZEROED}, tuple(b for _, b in there), "")
            arms += [replace(arm, seeds=tuple(a for a, _ in there)), changed]
    if not arms:
        return {}
    probed = replace(study, arms=tuple(arms))
    names = [arm.name for arm in arms]
    asked = [
        Question("taps", names[i], names[i + 1], _weights(len(arms), i, i + 1))
        for i in range(0, len(arms), 2)
    ]
    paired = replace(rules, paired=True)
    contrasts = judge(probed, paired, asked, SCORES["mean_iou"], "mean_iou")
    return {contrast.baseline: contrast for contrast in contrasts}


def _without_idle_taps(study: StudyRuns, seed: Seed) -> Seed | None:
    """A seed as if its idle taps had been zero; None where that was not scored."""
    probes = [without_idle_taps_of(run) for run in seed.runs]
    of = {name: counts for probe in probes if probe for name, counts in probe.counts.items()}
    if set(of) != set(study.images):
        return None
    return replace(seed, counts=np.stack([of[name] for name in study.images]))


def _comparisons(
    study: StudyRuns, rules: Rules, pyramids: Sequence[Pyramid | None]
) -> list[Comparison]:
    """Each ASPP against the arm without, and against the control; one family."""
    rests = [rest_of(config_of(arm.first_run), OF_ASPP) for arm in study.arms]
    strides = [stride_of(arm.first_run.read_config()["model"]) for arm in study.arms]
    asked: list[Question] = []
    found: list[tuple[str, tuple[int | None, int | None]]] = []
    for number, pyramid in enumerate(pyramids):
        if pyramid is None:
            continue
        alike = [i for i, rest in enumerate(rests) if rest == rests[number] and i != number]
        off = [i for i in alike if pyramids[i] is None]
        control = [i for i in alike if _is_control(pyramids[i])] if not _is_control(pyramid) else []
        for against, others in (("off", off), ("control", control)):
            for other in others[:1]:
                weights = _weights(len(study.arms), other, number)
                names = study.arms[other].name, study.arms[number].name
                asked.append(Question("model.aspp", *names, weights))
                found.append((against, (strides[number], strides[other])))
    if not asked:
        return []
    contrasts = judge(study, rules, asked, SCORES["mean_iou"], "mean_iou")
    return [
        Comparison(against, pair, contrast)
        for (against, pair), contrast in zip(found, contrasts, strict=True)
    ]


def _is_control(pyramid: Pyramid | None) -> bool:
    return pyramid is not None and set(pyramid.rates) == {1}


def _weights(number: int, minus: int, plus: int) -> tuple[float, ...]:
    return tuple(float(i == plus) - float(i == minus) for i in range(number))
