"""Studies on paper of simulated counts, and what ``compare`` says of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simulation import simulator
from studies_on_paper import plan_of, write_run

from segbench.analysis.compare import compare
from segbench.analysis.questions import rules_of
from segbench.analysis.study import read_study

Segbench = Callable[..., str]
Counts = NDArray[np.int64]
FACTOR = "data.augmentation"


def simulated(arms: int, seeds: int, images: int, shift: float = 0.0, seed: int = 0) -> Counts:
    world = simulator().World(shift=shift)
    counts: Counts = world.study(np.random.default_rng(seed), arms, seeds, images)
    return counts


def study_of(
    folder: Path, counts: Counts, values: list[Any], factor: str = FACTOR, **plan: Any
) -> Path:
    for value, seeds in zip(values, counts, strict=True):
        for seed, one in enumerate(seeds):
            write_run(folder, {factor: value}, seed, one)
    plan_of(folder, {factor: values}, counts.shape[1], **plan)
    return folder


def judged(folder: Path, **asked: Any) -> list[Any]:
    study = read_study([folder])
    return compare(study, rules_of(study, asked))


def as_json(segbench: Segbench, folder: Path, *args: str) -> list[dict[str, Any]]:
    segbench("compare", folder, "--json=verdicts.json", *args)
    content: list[dict[str, Any]] = json.loads(Path("verdicts.json").read_text())
    return content
