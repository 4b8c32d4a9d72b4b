"""The statistics of a comparison: arrays in, arrays out. No files, no torch, no pandas."""

import math

from scipy.stats import t


def detectable_difference(
    seed_sd: float,
    seeds: int,
    alpha: float,
    power: float,
    image_variance: float = 0.0,
    groups: int = 2,
) -> float:
    """The smallest difference of two arms that a study finds with probability ``power``.

    The two-sided test of two means over ``seeds`` seeds each, added to a variance over images,
    with Welch and Satterthwaite's degrees of freedom.

    Args:
        seed_sd: standard deviation of one arm's score between seeds.
        seeds: of each arm, at least 2.
        alpha: level of the test, shared out over looks and contrasts already.
        power: probability of finding it.
        image_variance: of the difference, from the sample of images; 0 for the seeds alone.
        groups: of images, behind ``image_variance``.
    """
    of_seeds = 2 * seed_sd**2 / seeds
    variance = of_seeds + image_variance
    if variance == 0:
        return 0.0
    df = variance**2 / (of_seeds**2 / (2 * (seeds - 1)) + image_variance**2 / max(1, groups - 1))
    return float(math.sqrt(variance) * (t.ppf(1 - alpha / 2, df) + t.ppf(power, df)))
