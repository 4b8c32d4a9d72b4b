"""How often the procedure is wrong, on simulated studies whose truth is known.

    python benchmarks/coverage.py            # minutes on two cores; --repetitions 200 for a look

Coverage of nominal 95 % intervals, false differences, family-wise error over six arms without a
difference, false equivalences at a true difference of the margin, and power when a study is run
again at the seeds it asked for; beside it, on the same studies, what others do: resampling images
of one trained pair, Welch's t on the scores of the seeds, a naive bootstrap of both.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from segbench import metrics
from segbench.analysis import stats

MARGIN = 0.02
PIXELS = 100_000  # of an image


@dataclass(frozen=True)
class World:
    """A kind of images and networks, as standard deviations of a class's recall in logits."""

    classes: int = 8
    image: float = 0.5
    image_class: float = 0.5
    arm_image_class: float = 0.2
    seed: float = 0.03
    seed_class: float = 0.08
    seed_image: float = 0.05
    rare: tuple[float, ...] = (0.4, 0.3, 0.2)  # presence of the last classes in an image
    shift: float = 0.0  # of the second arm's recall

    def base(self) -> NDArray[np.float64]:
        """Recall of each class, in logits."""
        return np.linspace(1.5, -0.8, self.classes)

    def study(
        self, rng: np.random.Generator, arms: int, seeds: int, images: int
    ) -> NDArray[np.int64]:
        """Confusion counts [arms, seeds, images, K, K]."""
        k = self.classes
        normal = rng.standard_normal
        logit = (
            self.base() + self.image * normal((images, 1)) + self.image_class * normal((images, k))
        )
        logit = logit + self.arm_image_class * normal((arms, 1, images, k))
        logit = logit + self.seed * normal((arms, seeds, 1, 1))
        logit = logit + self.seed_class * normal((arms, seeds, 1, k))
        logit = logit + self.seed_image * normal((arms, seeds, images, 1))
        logit[1:] += self.shift
        recall = 1 / (1 + np.exp(-logit))
        presence = np.concatenate([np.ones(k - len(self.rare)), self.rare])
        areas = rng.gamma(np.linspace(2.0, 0.5, k), size=(images, k)) * (
            rng.random((images, k)) < presence
        )
        areas = np.round(areas / areas.sum(1, keepdims=True) * PIXELS)
        # what is missed goes to the other classes, to common ones more
        to = np.tile(np.linspace(2.0, 0.5, k), (k, 1)) * (1 - np.eye(k))
        to /= to.sum(1, keepdims=True)
        hits = areas * recall
        counts = (areas - hits)[..., None] * to
        counts[..., np.arange(k), np.arange(k)] = hits
        return np.round(counts).astype(np.int64)

    def truth(self, images: int = 4000, seeds: int = 60) -> float:
        """The difference of the second arm from the first over many images and seeds."""
        rng = np.random.default_rng(12345)
        parts = []
        for _ in range(10):
            counts = self.study(rng, 2, seeds // 10, images)
            score = metrics.mean_iou(counts.sum(2)).mean(1)
            parts.append(score[1] - score[0])
        return float(np.mean(parts))


def arms_of(counts: NDArray[np.int64]) -> list[stats.Arm]:
    return [stats.score_arm(arm, metrics.mean_iou) for arm in counts]


@dataclass
class Tally:
    """Of one study: whether each method's interval holds the truth, and shows a difference."""

    covered: dict[str, bool]
    differs: dict[str, bool]
    equivalent: bool


def judge(counts: NDArray[np.int64], truth: float, rng: np.random.Generator) -> Tally:
    """Apply the procedure and the others' to two arms."""
    arms = arms_of(counts)
    found = stats.estimate((-1, 1), arms)
    intervals = {
        "segbench": stats.interval(found, 0.95),
        "images only": _images_only(counts[:, 0], rng),
        "Welch on seeds": _welch(arms),
        "naive two-level": _naive(counts, rng),
    }
    covered = {name: low <= truth <= high for name, (low, high) in intervals.items()}
    differs = {name: not low <= 0 <= high for name, (low, high) in intervals.items()}
    return Tally(covered, differs, stats.p_equivalent(found, MARGIN) <= 0.05)


def _images_only(counts: NDArray[np.int64], rng: np.random.Generator) -> tuple[float, float]:
    n = counts.shape[1]
    taken = rng.multinomial(n, np.full(n, 1 / n), size=400)
    score = metrics.mean_iou(np.tensordot(taken, counts, axes=(1, 1)).swapaxes(0, 1))
    low, high = np.quantile(score[1] - score[0], (0.025, 0.975))
    return float(low), float(high)


def _welch(arms: list[stats.Arm]) -> tuple[float, float]:
    found = scipy_stats.ttest_ind(arms[1].scores, arms[0].scores, equal_var=False)
    low, high = found.confidence_interval(0.95)
    return float(low), float(high)


def _naive(counts: NDArray[np.int64], rng: np.random.Generator) -> tuple[float, float]:
    arms, seeds, n = counts.shape[:3]
    draws = 400
    taken = rng.multinomial(n, np.full(n, 1 / n), size=draws)
    score = metrics.mean_iou(np.tensordot(taken, counts, axes=(1, 2)))  # [draws, arms, seeds]
    chosen = rng.integers(seeds, size=(draws, arms, seeds))
    score = np.take_along_axis(score, chosen, axis=2).mean(2)
    low, high = np.quantile(score[:, 1] - score[:, 0], (0.025, 0.975))
    return float(low), float(high)


def coverage(world: World, seeds: int, images: int, repetitions: int, seed: int) -> list[Tally]:
    """Judgements of ``repetitions`` studies of two arms."""
    rng = np.random.default_rng([seed, seeds, images])
    truth = world.truth() if world.shift else 0.0
    return [judge(world.study(rng, 2, seeds, images), truth, rng) for _ in range(repetitions)]


def family_wise(seeds: int, images: int, repetitions: int, seed: int) -> float:
    """How often at least one of the 15 pairs of six equal arms is called different."""
    rng = np.random.default_rng([seed, seeds, images, 6])
    wrong = 0
    for _ in range(repetitions):
        arms = arms_of(World().study(rng, 6, seeds, images))
        p = [
            stats.p_difference(stats.estimate((-1, 1), (arms[i], arms[j])))
            for i in range(6)
            for j in range(i + 1, 6)
        ]
        wrong += bool(stats.holm(p).min() <= 0.05)
    return wrong / repetitions


def shift_for(difference: float) -> float:
    """The shift of recall that makes this true difference."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if World(shift=middle).truth() < difference else (low, middle)
    return high


def power_at_seeds_total(seeds: int, images: int, repetitions: int, seed: int) -> tuple[float, int]:
    """Of studies that ask for more seeds at a true difference of the margin: power when rerun.

    Also how many of the studies asked.
    """
    world = World(shift=shift_for(MARGIN))
    rng = np.random.default_rng([seed, seeds, images, 8])
    found = asked = 0
    for _ in range(repetitions):
        first = stats.estimate((-1, 1), arms_of(world.study(rng, 2, seeds, images)))
        power = stats.Power(first.variance_images, images, 2, 0.05, 0.8)
        total = power.seeds(MARGIN, stats.seed_spread_bound(first, 0.6))
        if total is None or total <= seeds:
            continue
        asked += 1
        again = stats.estimate((-1, 1), arms_of(world.study(rng, 2, total, images)))
        found += stats.p_difference(again) <= 0.05
    return found / max(asked, 1), asked


def _cell(task: tuple[int, int, float, int, int]) -> tuple[int, int, list[Tally]]:
    seeds, images, shift, repetitions, seed = task
    return seeds, images, coverage(World(shift=shift), seeds, images, repetitions, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    number, seed = options.repetitions, options.seed
    tasks = [(s, n, 0.0, number, seed) for s, n in product((3, 5, 10), (20, 40, 100))]
    print(f"{number} simulated studies in each row; truth: no difference\n")
    print("| seeds | images | " + " | ".join(METHODS) + " |")
    print("|---|---|" + "---|" * len(METHODS))
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for seeds, images, tallies in pool.map(_cell, tasks):
            cells = [
                f"{np.mean([t.covered[m] for t in tallies]):.3f} / "
                f"{np.mean([t.differs[m] for t in tallies]):.3f}"
                for m in METHODS
            ]
            print(f"| {seeds} | {images} | " + " | ".join(cells) + " |", flush=True)
        print("\n(coverage of the 95 % interval / share called different)\n")
        wise = pool.submit(family_wise, 5, 40, number, seed)
        shift = shift_for(MARGIN)
        at_margin = pool.submit(_cell, (5, 40, shift, number, seed))
        powered = pool.submit(power_at_seeds_total, 3, 100, number // 3, seed)
        print(f"family-wise error, six equal arms, 15 pairs: {wise.result():.3f}")
        tallies = at_margin.result()[2]
        print(
            f"true difference {MARGIN}: coverage "
            f"{np.mean([t.covered['segbench'] for t in tallies]):.3f}, called equivalent "
            f"{np.mean([t.equivalent for t in tallies]):.3f}"
        )
        power, asked = powered.result()
        print(f"power when run again at seeds_total ({asked} studies that asked): {power:.3f}")


METHODS = ("segbench", "images only", "Welch on seeds", "naive two-level")

if __name__ == "__main__":
    main()
