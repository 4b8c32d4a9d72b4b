"""The claim on a folder: one process, and what it starts, writes a run at a time.

A claim is a lock on the folder itself, which the system lifts when its last holder ends, however
it ends. Made for POSIX systems: Windows has no such lock.
"""

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

HOLDER = "SEGBENCH_CLAIM"
"""Names the folder whose claim a process has inherited from the one that started it."""


@dataclass(frozen=True)
class Claim:
    """A folder that no other process writes. Leaves the ``with`` block free again.

    Args:
        folder: where it lies; made where it was missing.
        handle: the open folder. A child process that inherits it shares the claim.
        made: what was made for it and is taken away again where it stays empty.
    """

    folder: Path
    handle: int
    made: tuple[Path, ...]

    @classmethod
    def on(cls, folder: Path) -> "Claim | None":
        """The claim on ``folder``, or None where another process has it."""
        made = tuple(path for path in (folder, *folder.parents) if not path.exists())
        folder.mkdir(parents=True, exist_ok=True)
        claim = cls(folder, os.open(folder, os.O_RDONLY), made)
        try:
            if os.environ.get(HOLDER) != str(folder.resolve()):  # else it is inherited
                fcntl.flock(claim.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            claim.release()
            return None
        return claim

    def for_a_child(self) -> dict[str, str]:
        """The environment that tells a child, started with ``pass_fds=[handle]``, of its claim."""
        return {HOLDER: str(self.folder.resolve())}

    def release(self) -> None:
        """Let others have it, unless a child still holds it."""
        os.close(self.handle)
        with suppress(OSError):
            for path in self.made:
                path.rmdir()

    def __enter__(self) -> "Claim":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
