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
from numpy.typing import NDArray

from segbench.errors import InputError
from segbench.files import as_json, write_atomic
from segbench.reading import check_shape, read_json, read_text, read_yaml, reading
from segbench.shapes import BENCHMARK, CONFIG, PROBE, RUN, TRAINED_RUN
from segbench.wording import CONTROLS

FORMAT = 1
LONGEST_NAME = 120

COLUMNS = {
    "epoch",
    "seconds",
    "train/loss",
    "train/mean_iou",
    "train_clean/mean_iou",
    "val/mean_iou",
}
"""Of metrics.csv, which has more."""
LARGEST_COUNT = 2**40
"""Pixels of one image; sums over images stay within 64 bits."""

AGAIN = "remove it and measure again"

OUTSIDE_THE_RESULT = (
    "data.root",
    "data.num_workers",
    "data.cache_gb",
    "test",
    "wandb",
    "keep_freed_memory",
    "trainer.enable_progress_bar",
)
"""Keys that change where or how fast a run runs, but not what it computes on a CPU."""

MACHINE = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")
"""Keys that say what a run runs on: no part of what it varies."""


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
        record: dict[str, Any] = read_json(self.record, again)
        if isinstance(record, dict) and record.get("format") != FORMAT:
            raise InputError(
                f"{self.record}: format {record.get('format')}, this segbench reads {FORMAT}; "
                f"read it with the segbench that wrote it, or {again}"
            )
        check_shape(record, RUN, self.record, again)
        if record["status"] == "finished" or "scores" in record:
            check_shape(record, TRAINED_RUN, self.record, again)
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
            InputError: missing, damaged, no configuration, or changed since its run began.
        """
        back = f"put back the one of its run, or move {self.path} away and run it again"
        config: dict[str, Any] = read_yaml(self.config, back)
        check_shape(config, CONFIG, self.config, back)
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
        content: dict[str, Any] = read_json(self.benchmark, AGAIN)
        check_shape(content, BENCHMARK, self.benchmark, AGAIN)
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
        content: dict[str, Any] = read_json(self.probe, AGAIN)
        check_shape(content, PROBE, self.probe, AGAIN)
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
        """The rows of metrics.csv, one or more, as columns and numbers.

        Raises:
            InputError: missing, damaged, or without some of the run's epochs.
        """
        again = f"move {self.path} away and run it again"
        with reading(self.metrics, again):
            text = read_text(self.metrics, again)
            lines = csv.DictReader(io.StringIO(text, newline=""))
            rows = [{k: float(v) for k, v in row.items()} for row in lines]
            if not rows or not text.endswith("\n"):
                raise ValueError("cut short")
            if missing := COLUMNS - rows[0].keys():
                raise ValueError(f"no column {min(missing)}")
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
        with reading(self.counts, remedy):
            with self.counts.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                counts, *names = (stored[k] for k in ("counts", "images", "groups", "classes"))
            tested = TestCounts(counts, *(name.tolist() for name in names))
            if problem := _problem(tested):
                raise ValueError(problem)
        return tested


def _problem(tested: TestCounts) -> str | None:
    """What is wrong with test counts from a file: names become paths, counts are summed."""
    counts, lists = tested.counts, (tested.images, tested.groups, tested.classes)
    names = [name for one in lists if isinstance(one, list) for name in one]
    if not all(isinstance(one, list) for one in lists) or not all(type(n) is str for n in names):
        return "names are no lists of words"
    if counts.shape != (len(tested.images), *2 * (len(tested.classes),)) or not counts.size:
        return f"counts of shape {counts.shape}"
    if len(tested.groups) != len(tested.images):
        return f"{len(tested.groups)} groups of {len(tested.images)} images"
    if counts.dtype.kind not in "ui" or counts.min() < 0 or counts.max() > LARGEST_COUNT:
        return "counts that are no numbers of pixels"
    for what, unique in (("image", tested.images), ("class", tested.classes)):
        if len(set(unique)) < len(unique):
            return f"one {what} twice"
    if odd := [name for name in names if CONTROLS.search(name)]:
        return f"control characters in {odd[0]!r}"
    if odd := [name for name in tested.images if "/" in name]:
        return f"{odd[0]!r} is no name of an image"
    return None


def find_runs(study: Path) -> list[RunFolder]:
    """The run folders in ``study``, or ``study`` itself if it is one, in the order of names.

    Raises:
        InputError: there are none, or one whose name a terminal would obey.
    """
    found = [study] if (study / "run.json").exists() else []
    found += sorted(record.parent for record in study.glob("*/run.json"))
    if not found:
        raise InputError(f"{study}: no runs here (folders with a run.json)")
    if odd := [path for path in found if CONTROLS.search(str(path))]:
        raise InputError(f"{odd[0]}: control characters in its name; rename it")
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
