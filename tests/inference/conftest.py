"""What the tests of networks in use share: trained runs, as their users have them."""

import os
import sys
from pathlib import Path

import pytest

from segbench import cli


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A study of three runs: two arms that share a network, and one of a narrower one."""
    folder = tmp_path_factory.mktemp("networks")
    base = ["--data.root", str(scenes), "--data.crop_size=48", "--data.samples_per_epoch=8"]
    base += ["--data.batch_size=4", "--trainer.max_epochs=1", "--model.backbone=plain"]
    before, argv = Path.cwd(), sys.argv
    os.chdir(folder)  # where a run's paths begin
    try:
        for name, width, policy in (("a", 8, "none"), ("b", 8, "flip"), ("c", 4, "none")):
            given = [f"--model.width={width}", f"--data.augmentation={policy}"]
            sys.argv = ["segbench", "fit", *base, *given, "--run_dir", str(folder / "study" / name)]
            cli.main()
            os.environ.pop("SEGBENCH_RUN_DIR", None)
    finally:
        os.chdir(before)
        sys.argv = argv
    return folder / "study"
