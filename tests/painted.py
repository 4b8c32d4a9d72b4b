"""Studies whose predictions are painted by hand: truths, and networks with one known fault."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from studies_on_paper import write_run

Ids = NDArray[np.uint8]
Network = Callable[[Ids, int], Ids]
"""From true ids and the number of a seed to the ids that the network predicts."""

NAMES = ["class 0", "class 1", "class 2", "class 3"]
GRASS, WATER, ROAD, TREE = range(4)


def scene(number: int) -> Ids:
    """Grass, three ponds, three roads, small trees and large ones; each scene is shifted a bit."""
    ids = np.full((160, 200), GRASS, dtype=np.uint8)
    for place in range(3):
        ids[10 + number : 50, 10 + 60 * place : 40 + 60 * place] = WATER
        ids[65 + number : 75 + number, 10 + 60 * place : 60 + 60 * place] = ROAD
    for x in range(8):
        ids[90:98, 10 + 22 * x : 18 + 22 * x] = TREE  # 8 px
    for x in range(3):
        ids[110:150, 10 + 60 * x : 50 + 60 * x] = TREE  # 40 px
    return ids


def study_of_networks(
    folder: Path,
    networks: dict[str, Network],
    seeds: int = 3,
    scenes: Sequence[Ids] = tuple(scene(n) for n in range(8)),
    confidence: int = 200,
) -> Path:
    """Run folders as if each network had been trained with each seed."""
    study = folder / "painted"
    for kind in ("image", "truth"):
        (study / "test" / kind).mkdir(parents=True)
    names = [f"scene_{n}" for n in range(len(scenes))]
    shades = np.array([110, 110, 110, 30], dtype=np.uint8)  # but for the trees all look alike
    rng = np.random.default_rng(0)
    for name, ids in zip(names, scenes, strict=True):
        Image.fromarray(ids).save(study / "test" / "truth" / f"{name}.png")
        grey = shades[ids % 4].astype(int) + rng.integers(-20, 20, ids.shape)
        picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
        Image.fromarray(picture).save(study / "test" / "image" / f"{name}.jpg", quality=95)
    for arm, network in networks.items():
        for seed in range(seeds):
            said = [network(ids, seed) for ids in scenes]
            counts = np.stack([_counts(t, p) for t, p in zip(scenes, said, strict=True)])
            run = write_run(study, {"config": f"{arm}.yaml"}, seed, counts, images=names)
            for kind in ("predictions", "confidence"):
                (run.test / kind).mkdir()
            for name, ids in zip(names, said, strict=True):
                Image.fromarray(ids).save(run.test / "predictions" / f"{name}.png")
                sure = np.full(ids.shape, confidence, dtype=np.uint8)
                Image.fromarray(sure).save(run.test / "confidence" / f"{name}.png")
    return study


def _counts(truth: Ids, predicted: Ids) -> NDArray[np.int64]:
    known = truth != 255
    codes = truth[known].astype(np.int64) * 4 + predicted[known]
    return np.bincount(codes, minlength=16).reshape(4, 4)
