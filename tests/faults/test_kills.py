"""SIGKILL at seeded moments: nothing is lost or half written, and the end is the undisturbed one.

A moment is a share of the time that the undisturbed command took here, from its start to beyond
its end. A command that was killed is given again, until it ends by itself.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from comparison import assert_same
from painted import Ids, study_of_networks
from PIL import Image
from studies import SWEEP

from segbench.runs import RunFolder
from segbench.study.plan import read_plan

pytestmark = pytest.mark.slow

KILLS = {"fit": 16, "sweep": 12, "report": 12, "prepare": 10}
BEYOND = 1.1  # of the undisturbed time

# DeepLab has what could go astray: dropout, and an image pool
TINY = (
    *("--model.architecture=deeplab", "--model.backbone=mobilenet_v3_small", "--model.width=16"),
    *("--data.augmentation=full", "--data.crop_size=48", "--data.samples_per_epoch=8"),
    *("--data.batch_size=4", "--trainer.max_epochs=8"),
)

Command = Callable[[], tuple[object, ...]]


class Killer:
    """Runs commands in ``folder``, and kills them as often as it was told, in all."""

    def __init__(self, folder: Path, kills: int) -> None:
        self.folder, self.left = folder, kills
        self.rng = np.random.default_rng(kills)
        self.seconds = 0.0

    def undisturbed(self, *args: object) -> None:
        """Run a command once to know how long it takes."""
        began = time.perf_counter()
        assert self._ends(args, None)
        self.seconds = time.perf_counter() - began

    def until_it_ends(self, command: Command, after_a_kill: Callable[[], None]) -> None:
        """Run a command again and again, until no kill meets it any more."""
        while True:
            moment = self.rng.uniform(0, BEYOND * self.seconds) if self.left else None
            if self._ends(command(), moment):
                return
            self.left -= 1
            after_a_kill()

    def _ends(self, args: tuple[object, ...], moment: float | None) -> bool:
        """Whether it ended before it was killed; it may not fail."""
        with (self.folder / "said.txt").open("w+") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "segbench", *map(str, args)],
                cwd=self.folder,
                stdout=said,
                stderr=said,
            )
            try:
                assert process.wait(moment) == 0, Path(said.name).read_text()
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                assert no_orphans(said.name)
                return False
        return True


def no_orphans(output: str) -> bool:
    """Whether nobody still writes to this file, soon: by what the killed one started."""
    for _ in range(100):
        if not any(_writes(process, output) for process in Path("/proc").glob("[0-9]*")):
            return True
        time.sleep(0.1)
    return False


def _writes(process: Path, output: str) -> bool:
    try:
        return (process / "fd/2").readlink() == Path(output)
    except OSError:
        return False  # not ours, or gone


def names_from(stem: str) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"{stem}-{number}"


class Watched:
    """A run folder that is looked at after every kill."""

    def __init__(self, run: RunFolder) -> None:
        self.run, self.epoch = run, -1

    def look(self) -> None:
        run = self.run
        if run.record.exists():
            run.read_record()
            run.read_config()
        if run.metrics.exists():
            run.read_metrics()
        if run.counts.exists():
            run.read_counts()
        for path in (run.best, run.last):
            if path.exists():
                torch.load(path, weights_only=True)
        if run.last.exists():
            epoch = torch.load(run.last, weights_only=True)["epoch"]
            assert epoch >= self.epoch, "an epoch was lost"
            self.epoch = epoch


@pytest.fixture
def killer(request: pytest.FixtureRequest, tmp_path: Path) -> Killer:
    return Killer(tmp_path, KILLS[request.node.name.removeprefix("test_")])


def test_fit(killer: Killer, scenes: Path, tmp_path: Path):
    begin = ("fit", "--data.root", scenes, *TINY, "--run_dir")
    whole = RunFolder(tmp_path / "runs/whole")
    killer.undisturbed(*begin, whole.path)
    for name in names_from("killed"):
        run = RunFolder(tmp_path / "runs" / name)
        go_on = ("fit", "--config", run.config, "--ckpt_path=last", "--run_dir")

        def command(run: RunFolder = run, go_on: tuple[object, ...] = go_on) -> tuple[object, ...]:
            return (*(go_on if run.record.exists() else begin), run.path)

        killer.until_it_ends(command, Watched(run).look)
        assert_same(run, whole)
        if not killer.left:
            return


def test_sweep(killer: Killer, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    base = {
        "model": {"architecture": "unet", "width": 8},
        "data": {"root": str(scenes), "crop_size": 48, "samples_per_epoch": 8, "batch_size": 4},
        "trainer": {"max_epochs": 3},
    }
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    (tmp_path / "aug.yaml").write_text(yaml.safe_dump(SWEEP))
    command = ("sweep", "aug.yaml", "--engine=local", "--out")
    killer.undisturbed(*command, "whole")
    for name in names_from("killed"):
        cells = [
            Watched(RunFolder(tmp_path / name / f"augmentation-{policy}_seed-0"))
            for policy in ("none", "full")
        ]

        def look(study: Path = tmp_path / name, cells: list[Watched] = cells) -> None:
            if (study / "study.yaml").exists():
                read_plan(study)
            for cell in cells:
                cell.look()

        killer.until_it_ends(lambda name=name: (*command, name), look)  # type: ignore[misc]
        for cell in cells:
            assert_same(cell.run, RunFolder(tmp_path / "whole" / cell.run.path.name))
        if not killer.left:
            return


def a_corner_off(ids: Ids, seed: int) -> Ids:
    said = ids.copy()
    said[: 4 + 2 * seed, :8] = (said[: 4 + 2 * seed, :8] + 1) % 4
    return said


def shifted(ids: Ids, seed: int) -> Ids:
    return np.roll(ids, 2 + seed, axis=1)


def test_report(killer: Killer, tmp_path: Path):
    study = study_of_networks(tmp_path, {"good": a_corner_off, "bad": shifted}, seeds=2)
    page = study / "report.html"

    def written() -> str:
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", page.read_text(encoding="utf-8"))

    killer.undisturbed("report", study, "--workers=2")
    whole = written()

    def look() -> None:
        assert not page.exists() or written() == whole

    while killer.left:
        page.unlink()
        killer.until_it_ends(lambda: ("report", study, "--workers=2"), look)
        assert written() == whole


def test_prepare(killer: Killer, tmp_path: Path):
    rng = np.random.default_rng(0)
    for split, number in (("train", 6), ("val", 2), ("test", 2)):
        for kind in ("org", "label"):
            (tmp_path / f"release/{split}-{kind}-img").mkdir(parents=True)
        for name in range(number):
            coarse = rng.integers(0, 256, (30, 40, 3), np.uint8)
            image = Image.fromarray(coarse).resize((1280, 960), Image.Resampling.BICUBIC)
            image.save(tmp_path / f"release/{split}-org-img/{name}.jpg")
            ids = Image.fromarray(coarse[..., 0] % 10).resize((1280, 960), Image.Resampling.NEAREST)
            ids.save(tmp_path / f"release/{split}-label-img/{name}_lab.png")
    command = ("data", "prepare", "floodnet", "release", "--out")
    killer.undisturbed(*command, "whole")

    def files(folder: str) -> dict[str, bytes]:
        """Without those whose names begin with a dot: parts, which the next call removes."""
        found = (path for path in (tmp_path / folder).rglob("[!.]*") if path.is_file())
        return {str(path.relative_to(tmp_path / folder)): path.read_bytes() for path in found}

    whole = files("whole")
    for name in names_from("killed"):

        def look(name: str = name) -> None:
            written = files(name)
            assert written.items() <= whole.items()
            assert "classes.json" not in written or written.keys() == whole.keys()

        killer.until_it_ends(lambda name=name: (*command, name), look)  # type: ignore[misc]
        assert files(name) == whole
        assert not list((tmp_path / name).rglob("*.part"))
        if not killer.left:
            return
