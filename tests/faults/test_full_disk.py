"""A disk that fills: one line, no part left behind, and with more room the same command goes on.

Of one file that is too large: tests/training/test_bad_input.py, tests/inference/test_segment.py.
"""

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

KB = 1024


class Disk:
    """A small file system; where none may be mounted, a limit on what a process writes to a file.

    Room that is too small for one large file is then still too small.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.mounted = self._mount("size=64k")
        self.kilobytes = 64

    def resize(self, kilobytes: int) -> None:
        self.kilobytes = kilobytes
        if self.mounted:
            assert self._mount(f"remount,size={kilobytes}k")

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=True)

    def segbench(self, *args: object) -> subprocess.CompletedProcess[str]:
        limit = self.kilobytes * KB

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.run(
            [sys.executable, "-m", "segbench", *map(str, args)],
            cwd=self.folder.parent,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            preexec_fn=None if self.mounted else limited,
        )

    def _mount(self, options: str) -> bool:
        try:
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.folder],
                capture_output=True,
                check=False,
            )
        except OSError:
            return False
        return done.returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "disk")
    yield disk
    disk.close()


def parts(disk: Disk) -> list[str]:
    return [path.name for path in disk.folder.rglob(".*.part")]
