"""Studies whose run folders are written by hand: no training, known counts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from segbench import metrics
from segbench.runs import RunFolder, TestCounts, cell_name

Counts = NDArray[np.int64]
HARDWARE = {"cpu": "x", "gpus": [], "threads": 2, "accelerator": "cpu", "devices": 1}


def write_run(
    folder: Path,
    arm: dict[str, Any],
    seed: int,
    counts: Counts,
    *,
    groups: Sequence[str] | None = None,
    images: Sequence[str] | None = None,
    fold: int | None = None,
    status: str = "finished",
    data: str = "d0",
    val: Sequence[float] = (0.1, 0.2, 0.3),
    hardware: dict[str, Any] = HARDWARE,
    size_mb: float = 40.0,
    seconds: Sequence[float] | None = None,
    train_clean: Sequence[float] | None = None,
    train: Sequence[float] | None = None,
    loss: float = 1.0,
    steps: int = 100,
    config: dict[str, Any] | None = None,
) -> RunFolder:
    """A run folder as a fit leaves it; ``counts`` are those of its test images [n, K, K].

    ``config`` has dotted keys, like the arm, whose own are in config.yaml too.
    """
    run = RunFolder(folder / cell_name(arm, seed, fold))
    run.test.mkdir(parents=True)
    names = list(images or (f"image_{i:03d}" for i in range(len(counts))))
    classes = [f"class {k}" for k in range(counts.shape[-1])]
    run.write_counts(TestCounts(counts.astype(np.uint64), names, list(groups or names), classes))
    run.write_record(
        {
            "status": status,
            "arm": arm,
            "seed": seed,
            "fold": fold,
            "hardware": hardware,
            "seconds": {"fit": 3600.0, "val": 0.0, "test": 0.0},
            "images_per_second": 50.0,
            "steps": steps,
            "parameters": int(size_mb * 1e6 / 4),
            "size_mb": size_mb,
            "classes": [
                {"id": k, "name": name, "color": [30 * k % 256, 0, 0]}
                for k, name in enumerate(classes)
            ],
            "fingerprints": {"data": data},
            "scores": {"test": {"mean_iou": float(metrics.mean_iou(counts.sum(0)))}},
        }
    )
    since = seconds or [60.0 * (e + 1) for e in range(len(val))]
    clean = train_clean or [0.5 + 0.1 * e for e in range(len(val))]
    run.write_metrics(
        [
            {
                "epoch": e,
                "train/loss": loss,
                "train/mean_iou": float((train or clean)[e]),
                "train_clean/mean_iou": float(clean[e]),
                "val/mean_iou": float(v),
                "seconds": since[e],
            }
            for e, v in enumerate(val)
        ]
    )
    content: dict[str, Any] = {
        "model": {"architecture": "unet", "backbone": "plain"},
        "data": {"root": "x", "crop_size": 256},
    }
    for key, value in (arm | (config or {})).items():
        if "." in key:
            section, name = key.split(".")
            content.setdefault(section, {})[name] = value
    run.config.write_text(yaml.safe_dump(content))
    return run


def plan_of(folder: Path, values: dict[str, list[Any]], seeds: int, **plan: Any) -> None:
    """A study.yaml for runs that are there already."""
    from segbench.study.planning import plan_study, tested_in
    from segbench.study.spec import Sweep, check_sweep

    content = {
        "method": "grid",
        "parameters": {key: {"values": v} for key, v in values.items()}
        | {"seed_everything": {"values": list(range(seeds))}},
        "command": ["segbench", "fit", "--config", "${args_json}"],
        "plan": plan,
    }
    check_sweep(folder / "sweep.yaml", content)
    sweep = Sweep(folder / "sweep.yaml", content)
    plan_study(sweep, folder, tested_in(folder)).write()
