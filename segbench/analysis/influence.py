"""The images that carry a verdict: what it would be without them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from segbench import metrics
from segbench.analysis import stats
from segbench.analysis.compare import Contrast, compare
from segbench.analysis.questions import Rules, questions
from segbench.analysis.study import StudyRuns

TRIED = 5  # of the groups that carry a contrast most


@dataclass(frozen=True)
class Influence:
    """One group of test images and one contrast.

    Args:
        group: its name.
        arm, baseline: of the contrast.
        share: of the difference of mean IoU that is due to it: what leaving it out takes away.
        verdict: without it.
        flips: whether that is another verdict.
    """

    group: str
    arm: str
    baseline: str
    share: float
    verdict: str
    flips: bool


def influences(study: StudyRuns, rules: Rules, contrasts: Sequence[Contrast]) -> list[Influence]:
    """The groups of images that carry each contrast most, from its jackknife, and what is left.

    Args:
        study: the runs.
        rules: by which its verdicts were made.
        contrasts: those verdicts, in the order of the study's questions.
    """
    if study.number_of_groups < 3:
        return []
    totals = [study.totals(arm) for arm in study.arms]
    if not all(map(len, totals)):
        return []
    arms = [stats.score_arm(one, metrics.mean_iou) for one in totals]
    names = [""] * study.number_of_groups
    for number, name in zip(study.groups, study.group_names, strict=True):
        if number >= 0:
            names[number] = name
    found = []
    without: dict[int, list[Contrast]] = {}
    asked, _ = questions(study, rules.contrasts)
    for place, (question, contrast) in enumerate(zip(asked, contrasts, strict=True)):
        pairs = list(zip(question.weights, arms, strict=True))
        whole = sum(w * arm.mean for w, arm in pairs)
        left = np.sum([w * arm.without.mean(0) for w, arm in pairs], axis=0)
        share = whole - left
        for group in np.argsort(-np.abs(share), kind="stable")[:TRIED]:
            number = int(group)
            if number not in without:
                without[number] = compare(_without_group(study, number), rules, bootstrap=False)
            other = without[number][place]
            few = other.ci_low is None or other.estimand != contrast.estimand  # too few groups left
            verdict = "not assessable" if few else other.verdict
            flips = not few and verdict != contrast.verdict
            found.append(
                Influence(
                    names[number], contrast.arm, contrast.baseline, float(share[group]), verdict,
                    flips,
                )
            )  # fmt: skip
    return found


def _without_group(study: StudyRuns, group: int) -> StudyRuns:
    kept = study.groups != group
    arms = tuple(
        replace(arm, seeds=tuple(replace(s, counts=s.counts[kept]) for s in arm.seeds))
        for arm in study.arms
    )
    return replace(
        study,
        arms=arms,
        images=[name for name, keep in zip(study.images, kept, strict=True) if keep],
        group_names=[name for name, keep in zip(study.group_names, kept, strict=True) if keep],
    )
