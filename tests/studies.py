"""A small study for the tests, and ways to look at the processes that run it."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

from segbench.runs import RunFolder

SWEEP = {
    "project": "segbench",
    "name": "aug",
    "method": "grid",
    "metric": {"name": "val/mean_iou", "goal": "maximize"},
    "parameters": {
        "data.augmentation": {"values": ["none", "full"]},
        "seed_everything": {"values": [0]},
    },
    "command": ["${env}", "segbench", "fit", "--config", "base.yaml", "--config", "${args_json}"],
}
NONE, FULL = "augmentation-none_seed-0", "augmentation-full_seed-0"


def until(happened: Callable[[], bool], seconds: float = 90) -> None:
    """Wait for something that other processes do."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if happened():
            return
        pause.wait(0.05)
    raise AssertionError("it did not happen")


def children(of: int) -> list[int]:
    """Processes that a study's engine started, by their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"SEGBENCH_PARENT={of}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue  # not ours, or gone
    return found


def epochs(log: Path) -> list[int]:
    """The epochs that a cell's processes trained, in their order, from 1."""
    return [int(n) for n in re.findall(r"^epoch (\d+)/", log.read_text(), re.MULTILINE)]


def cell_process(run: RunFolder) -> int:
    """The process that writes a run, by its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"fit" in words and any(w.endswith(run.path.name.encode()) for w in words):
            return int(path.parent.name)
    raise AssertionError(f"nobody writes {run.path}")


def parent(of: int) -> int:
    status = Path(f"/proc/{of}/status").read_text()
    found = re.search(r"^PPid:\s+(\d+)", status, re.MULTILINE)
    assert found
    return int(found[1])
