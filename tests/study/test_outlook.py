"""What a plan says it can see, against the power of the t test itself."""

import contextlib
import io
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from scipy import stats as scipy_stats

from segbench.study.outlook import detectable_difference

Segbench = Callable[..., str]


@pytest.mark.parametrize(
    ("seeds", "alpha", "power"), [(2, 0.05, 0.8), (3, 0.01, 0.9), (5, 0.05, 0.8), (10, 0.025, 0.9)]
)
def test_the_difference_it_names_is_found_as_often_as_it_says(
    seeds: int, alpha: float, power: float
):
    """Power of a two-sided t test of two arms, by the noncentral t distribution."""
    sd = 0.01
    difference = detectable_difference(sd, seeds, alpha, power)
    df, shift = 2 * (seeds - 1), difference / (sd * math.sqrt(2 / seeds))
    limit = scipy_stats.t.ppf(1 - alpha / 2, df)
    found = scipy_stats.nct.sf(limit, df, shift) + scipy_stats.nct.cdf(-limit, df, shift)
    assert found == pytest.approx(power, abs=0.0001)


def test_a_dry_run_says_it_in_words(segbench: Segbench, sweep: Path):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        segbench("sweep", sweep, "--dry-run", "--seeds=5")
    first, second, third, fourth = said.getvalue().splitlines()
    assert first == (
        "runs/aug/study.yaml: 10 runs (10 missing), 5 seeds; tested on 3 images in 3 groups; "
        "1 contrast against a margin of 0.02"
    )
    # 3.201 x .01 x sqrt(2 / 5): noncentral t of 8 degrees of freedom
    assert "0.020 at a seed SD of 0.01, " in second
    assert third.startswith(
        "3 groups of test images: too few to speak of other images (it takes 6)"
    )
    assert fourth == "how long it takes is known after the first run"
