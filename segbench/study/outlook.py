"""What a plan can see before anything is trained."""

import math

from segbench.data.survey.findings import GROUPS_FOR_A_VERDICT
from segbench.study.cells import StudyCells
from segbench.study.plan import arms_of, pairs, seeds_of
from segbench.study.progress import START_UP
from segbench.wording import counted

SEED_SDS = (0.005, 0.01, 0.02)
"""Typical between seeds: the median of GEO-Bench's networks is .005, single ones reach .1."""


def outlook(runs: StudyCells) -> str:
    """The plan in words: its size, the smallest difference it can see, and the hours it takes."""
    plan, data = runs.plan.content["plan"], runs.plan.content["data"]
    cells, missing = runs.plan.cells, runs.missing()
    seeds = seeds_of(cells)
    contrasts = len(pairs(plan["contrasts"], arms_of(cells)))
    lines = [
        f"{runs.plan.path}: {counted(len(cells), 'run')} ({len(missing)} missing), "
        f"{counted(seeds, 'seed')}; "
        f"tested on {counted(data['images'], 'image')} in {counted(data['groups'], 'group')}; "
        f"{counted(contrasts, 'contrast')} against a margin of {plan['margin']}"
    ]
    if runs.plan.content["method"] == "random":
        lines.append("a random search: it is judged on val, and no verdict comes of it")
    elif seeds < 2:
        lines.append("one seed: no verdict can come of it; give --seeds 5")
    else:
        level = plan["alpha"] / len(plan["looks"]) / max(1, contrasts)
        seen = (detectable_difference(sd, seeds, level, plan["power"]) for sd in SEED_SDS)
        parts = (f"{d:.3f} at a seed SD of {sd}" for sd, d in zip(SEED_SDS, seen, strict=True))
        lines.append(
            f"it can see, {plan['power']:.0%} of the time, a difference in mean IoU of "
            f"{', '.join(parts)}; this counts the seeds alone, the sample of images adds to it"
        )
    if data["groups"] < GROUPS_FOR_A_VERDICT:
        lines.append(
            f"{counted(data['groups'], 'group')} of test images: too few to speak of other images "
            f"(it takes {GROUPS_FOR_A_VERDICT}): verdicts hold for this test set only; or give "
            "--folds"
        )
    lines.append(_hours(runs))
    return "\n".join(lines)


def detectable_difference(seed_sd: float, seeds: int, alpha: float, power: float) -> float:
    """The smallest difference of two arms on the same images that a study finds with ``power``.

    Args:
        seed_sd: standard deviation of one arm's score between seeds.
        seeds: of each arm, at least 2.
        alpha: level of the two-sided test, shared out over looks and contrasts already.
        power: probability of finding it.
    """
    from scipy.special import nctdtrinc, stdtrit  # costs a while

    df = 2 * (seeds - 1)  # Welch and Satterthwaite's, for two arms of one spread
    # the tail on the wrong side is left out; the usual sum of two quantiles finds the difference
    # in 83 % of studies where 90 % were asked for (3 seeds, alpha .01)
    noncentrality = nctdtrinc(df, 1 - power, stdtrit(df, 1 - alpha / 2))
    return float(math.sqrt(2 * seed_sd**2 / seeds) * noncentrality)


def _hours(runs: StudyCells) -> str:
    missing = runs.missing()
    measured = [
        sum(record["seconds"].values()) + START_UP
        for cell in runs.plan.cells
        if cell not in missing and "seconds" in (record := runs.folders[cell.name].read_record())
    ]
    if not measured:
        return "how long it takes is known after the first run"
    hours = len(missing) * sum(measured) / len(measured) / 3600
    return f"about {hours:.1f} hours of one place remain, by the {len(measured)} runs measured"
