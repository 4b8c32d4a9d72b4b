"""What the tests of studies share."""

from pathlib import Path

import pytest
import yaml
from studies import SWEEP


@pytest.fixture
def sweep(tmp_path: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep of two runs of some seconds, in the folder where segbench is called.

    Every process has one thread, whatever the machine: sums over threads differ in the last bit.
    """
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    base = {
        "model": {"architecture": "unet", "width": 8},
        "data": {"root": str(scenes), "crop_size": 48, "samples_per_epoch": 8, "batch_size": 4},
        "trainer": {"max_epochs": 3},
    }
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base))
    path = tmp_path / "aug.yaml"
    path.write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    return path
