"""What the counts of errors say, in sentences, by rules that are written down here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segbench.analysis.ceiling import Ceilings
from segbench.analysis.errors import Agreement, ClassErrors, Flow

MOST = 0.5  # of a flow: the kind of error that it is called
ALIKE, APART = 0.7, 0.9  # AUC of colour and texture, below and above which they decide
NEAR_CEILING = 0.05  # of IoU, within which a class is as good as its stride lets it
SMALL = 0.02  # of IoU, below which a flow is not worth a sentence
COMMON = 0.8  # rank correlation from which IoU is said to follow frequency


@dataclass(frozen=True)
class Finding:
    """A sentence, the IoU that is at stake, and the classes it is about."""

    sentence: str
    iou_lost: float
    truth: str = ""
    predicted: str = ""


def of_flows(
    flows: Sequence[Flow], seeds: int, separable: Mapping[tuple[str, str], float | None]
) -> list[Finding]:
    """The flows that cost most: how much, where, of which kind, and whether colour explains it.

    Args:
        flows: what costs most first.
        seeds: of the arm.
        separable: AUC of the pairs of classes, in the order of their names.
    """
    return [
        Finding(
            f"{one.truth} loses {one.iou_lost:.2f} IoU to {one.predicted}: "
            f"{one.share_of_missed[0]:.0%} of its missed pixels are called that "
            f"{interval(one.share_of_missed)}, {_kinds(one)}, its first cause in {one.leading} of "
            f"{seeds} seeds{_colour(one, separable)}.",
            one.iou_lost,
            one.truth,
            one.predicted,
        )
        for one in flows
        if one.iou_lost >= SMALL
    ]


def interval(value: tuple[float, float, float]) -> str:
    """The bounds of a share, as a reader of percents wants them."""
    return f"[{value[1]:.0%}, {value[2]:.0%}]"


def _kinds(one: Flow) -> str:
    kinds = {"boundary": one.boundary, "extent": one.extent, "segment": one.segment}
    name = max(kinds, key=kinds.__getitem__)
    share = kinds[name]
    if share < MOST:
        return "at borders, inside segments and as whole segments alike"
    return {
        "boundary": f"{share:.0%} of that at its borders: a border problem",
        "extent": f"{share:.0%} of that inside segments that were found in part",
        "segment": f"{share:.0%} of that as whole segments: not a border problem",
    }[name]


def _colour(one: Flow, separable: Mapping[tuple[str, str], float | None]) -> str:
    first, second = sorted((one.truth, one.predicted))
    auc = separable.get((first, second))
    if auc is None:
        return ""
    if auc < ALIKE:
        return f"; colour AUC {auc:.2f}: they look alike, only what is around tells them apart"
    if auc > APART:
        return f"; colour AUC {auc:.2f}: colour alone tells most of their pixels apart"
    return f"; colour AUC {auc:.2f}"


def of_ceilings(ceilings: Ceilings, stride: int | None) -> list[Finding]:
    """Classes that are as good as the stride of the network lets them be.

    Args:
        ceilings: in crops.
        stride: of the network's last map, where it is known.
    """
    if stride is None or stride not in ceilings.best:
        return []
    return [
        Finding(
            f"{name} is as good as output stride {stride} lets it be: in crops around its pixels "
            f"its IoU is {ceilings.reached[name]:.2f}, where a map of that stride that is fitted "
            f"to the truth itself reaches {best:.2f}: the stride is the cause.",
            1 - best,
            name,
        )
        for name, best in ceilings.best[stride].items()
        if best - NEAR_CEILING < ceilings.reached[name] and best < 1 - NEAR_CEILING
    ]


def of_objects(found: Sequence[ClassErrors]) -> list[Finding]:
    """Classes of which most objects of a size are missed, while larger ones are found."""
    result = []
    for one in found:
        sizes = [size for size, number in one.objects.items() if number >= 5]
        if len(sizes) < 2:
            continue
        small, large = sizes[0], sizes[-1]
        if one.found[small] < 0.5 and one.found[large] - one.found[small] > 0.25:
            result.append(
                Finding(
                    f"{one.name}: {1 - one.found[small]:.0%} of the {one.objects[small]} objects "
                    f"of {small} px across are missed, {1 - one.found[large]:.0%} of those of "
                    f"{large} px; most often {one.replaced_by} takes their place.",
                    0.0,
                    one.name,
                )
            )
    return result


def of_frequency(found: Sequence[ClassErrors]) -> Finding | None:
    """Whether classes are predicted the better the commoner they are."""
    if len(found) < 4:
        return None
    from scipy.stats import spearmanr  # costs a second

    frequency, iou = ([getattr(one, key) for one in found] for key in ("frequency", "iou"))
    score = [value[0] for value in iou]
    if len(set(score)) < 2:
        return None
    rank = float(spearmanr(frequency, score).statistic)
    most = found[int(np.argmax(frequency))]
    words = "follows" if rank > COMMON else "does not simply follow"
    return Finding(
        f"IoU {words} frequency: rank correlation {rank:.2f} over {len(found)} classes; "
        f"{most.name}, the commonest ({most.frequency:.0%} of the pixels), has "
        f"{most.iou[0]:.2f}, {1 + sum(s > most.iou[0] for s in score)}. of {len(found)}.",
        0.0,
        most.name,
    )


def of_agreement(found: Agreement, seeds: int) -> Finding | None:
    """Whether more seeds would help, or other data."""
    if seeds < 2:
        return None
    cause = "bias: it takes other data or another network" if found.always > MOST else "variance"
    return Finding(
        f"{found.always:.0%} of the wrong pixels are wrong in all {seeds} seeds: mostly {cause}; "
        f"the seeds' vote has mean IoU {found.ensemble:.3f}, a seed alone {found.mean_iou:.3f}.",
        max(0.0, found.ensemble - found.mean_iou),
    )


def of_labels(pixels: int, areas: int, mean_iou: float, without: float) -> Finding | None:
    """Labels that all networks contradict."""
    if not areas:
        return None
    return Finding(
        f"In {areas} places ({pixels} pixels) every seed of every arm is sure of another class "
        f"than the label: look at them; without them the mean IoU is {without:.3f} instead of "
        f"{mean_iou:.3f}.",
        max(0.0, without - mean_iou),
    )
