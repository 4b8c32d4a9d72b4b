"""The run folder: what one training leaves behind, and the only thing analysis reads.

::

    <study>/<cell>/
        config.yaml                 resolved; ``segbench fit --config`` on it repeats the run
        run.json                    status, arm, seed, versions, hardware, seconds, scores, ...
        metrics.csv                 one row per epoch
        checkpoints/best.ckpt last.ckpt
        test/counts.npz             counts uint64 [n, K, K], images [n], groups [n], classes [K]
        test/predictions/<name>.png class ids
        test/confidence/<name>.png  uint8, largest softmax value x 255
        benchmark.json              latency, memory and size of its network, once it is measured
        probe.json                  what its augmentation does, and tests of its network: probes.py
    <study>/test/image|truth/       the test set once, for whoever has only the run folders
    <study>/augmentation.jpg        crops of each arm, once ``segbench augmentation`` looked

Every write is atomic. A run is found by its run.json, never by the name of a folder.
"""

import csv
import hashlib
import io
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from segbench.errors import InputError
from segbench.files import EVERY, NUMBER, as_json, check_shape, reading, write_atomic

YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C, where PyYAML was built with it: a study has many small files."""

FORMAT = 1
LONGEST_NAME = 120
STATUSES = ("running", "finished", "failed", "diverged")

OUTSIDE_THE_RESULT = (
    "data.root",
    "data.num_workers",
    "test",
    "wandb",
    "keep_freed_memory",
    "trainer.enable_progress_bar",
)
"""Keys that change where or how fast a run runs, but not what it computes on a CPU."""

MACHINE = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")
"""Keys that say what a run runs on: no part of what it varies."""


BEGUN = {
    "status": str,
    "arm": dict,
    "seed": int,
    "fold": int | None,
    "parameters": int,
    "size_mb": NUMBER,
    "hardware": {"devices": int},
    "fingerprints": {"data": str},
}
"""What run.json has from the start."""

TRAINED = {
    "steps": int,
    "images_per_second": NUMBER,
    "seconds": {EVERY: NUMBER},
    "scores": {EVERY: {EVERY: NUMBER | None}},
}
"""What it has at the end, and may have before."""

SOMETIMES = {
    "epochs": int,
    "best_epoch": int,
    "classes": {EVERY: {"id": int, "name": str, "color": {0: int, 1: int, 2: int}}},
    "versions": {EVERY: str},
}

COLUMNS = {"epoch", "train/loss", "train/mean_iou", "train_clean/mean_iou", "val/mean_iou"}
COLUMNS |= {"seconds"}
"""Of metrics.csv, beside those of classes and further scores."""

MEASURED = {
    "measured": str,
    "macs": NUMBER,
    "parameters": int,
    "size_mb": NUMBER,
    "peak_memory_mb": NUMBER | None,
    "runtimes": {EVERY: {"latency_ms": NUMBER, "blocks_ms": {0: NUMBER, EVERY: NUMBER}}},
}
"""What benchmark.json has."""


@dataclass(frozen=True)
class TestCounts:
    """Confusion counts of the test images: uint64 [n, K, K], rows truth, columns prediction."""

    __test__ = False  # not a test, whatever pytest thinks of the name

    counts: NDArray[np.uint64]
    images: list[str]
    groups: list[str]
    classes: list[str]


@dataclass(frozen=True)
class RunFolder:
    """Paths, reading and writing of one run folder."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def record(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.checkpoints / "last.ckpt"

    @property
    def test(self) -> Path:
        return self.path / "test"

    @property
    def counts(self) -> Path:
        return self.test / "counts.npz"

    @property
    def benchmark(self) -> Path:
        """What ``segbench benchmark`` measured of the run's network, if it did."""
        return self.path / "benchmark.json"

    @property
    def probe(self) -> Path:
        """What ``segbench augmentation`` and ``segbench aspp`` measured of it, if they did."""
        return self.path / "probe.json"

    @property
    def study_test(self) -> Path:
        """The test set's images and truths, shared by the runs of a study."""
        return self.path.parent / "test"

    @property
    def go_on(self) -> str:
        """The command by which the run goes on."""
        config, path = shlex.quote(str(self.config)), shlex.quote(str(self.path))
        return f"segbench fit --config {config} --run_dir {path} --ckpt_path last"

    def read_record(self) -> dict[str, Any]:
        """run.json.

        Raises:
            InputError: missing, damaged, or of another format version.
        """
        again = f"move {self.path} away and run it again"
        with reading(self.record, again):
            record: dict[str, Any] = json.loads(self.record.read_text(encoding="utf-8"))
            check_shape(record, {})
            if record.get("format") != FORMAT:
                raise InputError(
                    f"{self.record}: format {record.get('format')}, this segbench reads {FORMAT}; "
                    f"read it with the segbench that wrote it, or {again}"
                )
            check_shape(record, BEGUN | (TRAINED if record.get("status") == "finished" else {}))
            later = TRAINED | SOMETIMES
            check_shape(record, {key: later[key] for key in later if key in record})
            if record["status"] not in STATUSES:
                raise ValueError(f"status is {record['status']!r:.40}")
        return record

    def finished(self) -> bool:
        """Whether all is there: trained, and tested where it was asked for."""
        return self.record.exists() and self.read_record()["status"] == "finished"

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write run.json. A score of a class without truth, NaN in Python, becomes null."""
        write_atomic(self.record, as_json({"format": FORMAT, **record}))

    def read_config(self) -> dict[str, Any]:
        """config.yaml.

        Raises:
            InputError: missing, damaged, or changed since its run began.
        """
        back = f"put back the one of its run, or move {self.path} away and run it again"
        with reading(self.config, back):
            config: dict[str, Any] = yaml.load(self.config.read_text(encoding="utf-8"), YamlLoader)
            check_shape(config, {"model": dict, "data": {"root": str}})
            if self.record.exists():
                began_with = self.read_record()["fingerprints"].get("config")
                if began_with not in (None, fingerprint_of_config(config)):
                    raise InputError(
                        f"{self.config}: is not what its run began with, by the fingerprint in "
                        f"{self.record.name}; {back}"
                    )
        return config

    def read_benchmark(self) -> dict[str, Any] | None:
        """benchmark.json, or None where there is none.

        Raises:
            InputError: it is damaged.
        """
        if not self.benchmark.exists():
            return None
        with reading(self.benchmark, "measure again with segbench benchmark"):
            content: dict[str, Any] = json.loads(self.benchmark.read_text(encoding="utf-8"))
            check_shape(content, MEASURED)
            if not content["runtimes"]:
                raise ValueError("no runtimes")
        return content

    def write_benchmark(self, content: Mapping[str, Any]) -> None:
        write_atomic(self.benchmark, as_json(content))

    def read_probe(self) -> dict[str, Any]:
        """probe.json, empty where there is none.

        Raises:
            InputError: it is damaged.
        """
        if not self.probe.exists():
            return {}
        with reading(self.probe, "remove it and measure again"):
            content: dict[str, Any] = json.loads(self.probe.read_text(encoding="utf-8"))
            check_shape(content, {EVERY: dict})
        return content

    def write_probe(self, part: Mapping[str, Any]) -> None:
        """Add to probe.json, or replace parts of it."""
        write_atomic(self.probe, as_json(self.read_probe() | dict(part)))

    def write_metrics(self, rows: Sequence[Mapping[str, float]]) -> None:
        """One row per epoch; the columns are those of the first row."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomic(self.metrics, text.getvalue())

    def read_metrics(self) -> list[dict[str, float]]:
        """The rows of metrics.csv, one or more.

        Raises:
            InputError: missing or damaged.
        """
        with reading(self.metrics, f"move {self.path} away and run it again"):
            text = self.metrics.read_text(encoding="utf-8")
            rows = [
                {column: float(value) for column, value in row.items()}
                for row in csv.DictReader(io.StringIO(text))
            ]
            if not rows or not text.endswith("\n"):
                raise ValueError("cut short")
            if missing := COLUMNS - rows[0].keys():
                raise ValueError(f"no {min(missing)}")
            record = self.read_record() if self.record.exists() else {}
            epochs = record.get("epochs", len(rows))
            if record.get("status") == "finished" and epochs != len(rows):
                raise ValueError(f"{len(rows)} of {epochs} epochs")
        return rows

    def write_counts(self, tested: TestCounts) -> None:
        content = io.BytesIO()
        np.savez_compressed(
            content,
            counts=tested.counts,
            images=np.array(tested.images),
            groups=np.array(tested.groups),
            classes=np.array(tested.classes),
        )
        write_atomic(self.counts, content.getvalue())

    def read_counts(self) -> TestCounts:
        """Raises InputError where the file is missing or damaged."""
        remedy = f"remove it, and {self.go_on} tests again"
        with reading(self.counts, remedy), np.load(self.counts, allow_pickle=False) as stored:
            counts = stored["counts"]
            names = [stored[key].tolist() for key in ("images", "groups", "classes")]
            images, groups, classes = map(len, names)
            if counts.dtype.kind not in "ui" or counts.shape != (images, classes, classes):
                raise ValueError(f"{counts.dtype} {counts.shape} of {images} images")
            if groups != images:
                raise ValueError(f"{groups} groups of {images} images")
            return TestCounts(counts, *names)


def find_runs(study: Path) -> list[RunFolder]:
    """The run folders in ``study``, or ``study`` itself if it is one, in the order of names.

    Raises:
        InputError: there are none.
    """
    found = [study] if (study / "run.json").exists() else []
    found += sorted(record.parent for record in study.glob("*/run.json"))
    if not found:
        raise InputError(f"{study}: no runs here (folders with a run.json)")
    return [RunFolder(path) for path in found]


def cell_name(arm: Mapping[str, Any], seed: int, fold: int | None = None) -> str:
    """A readable folder name for a cell of a study: what varies, then its seed (and fold).

    >>> cell_name({"data.augmentation": "full"}, 3)
    'augmentation-full_seed-3'
    """
    parts = [
        _slug(Path(str(value)).stem if key == "config" else f"{key.rsplit('.', 1)[-1]}-{value}")
        for key, value in arm.items()
    ]
    place = [f"seed-{seed}", *([] if fold is None else [f"fold-{fold}"])]
    text = "_".join(parts)
    room = LONGEST_NAME - len("_".join(place)) - 1
    if len(text) > room:
        text = f"{text[: room - 9]}_{fingerprint(text)[:8]}"
    return "_".join([text, *place] if text else place)


def _slug(text: str) -> str:
    return re.sub(r"[^\w.]+", "-", text).strip("-")


def free_path(wanted: Path) -> Path:
    """``wanted``, or the first of ``wanted-2``, ``wanted-3``, ... that does not exist."""
    path, number = wanted, 1
    while path.exists():
        number += 1
        path = wanted.with_name(f"{wanted.name}-{number}")
    return path


def dotted(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        nested = isinstance(value, Mapping)
        flat |= dotted(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def fingerprint_of_config(config: Mapping[str, Any]) -> str:
    """The same for configurations that compute the same."""
    return fingerprint(_without(config, OUTSIDE_THE_RESULT))


def _without(config: Mapping[str, Any], keys: tuple[str, ...], prefix: str = "") -> dict[str, Any]:
    return {
        key: _without(value, keys, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in config.items()
        if prefix + key not in keys
    }


def fingerprint(value: Any) -> str:
    """A hash of a value of plain types, equal for equal values on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
