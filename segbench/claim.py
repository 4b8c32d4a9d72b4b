"""Claims: one process, and what it starts, writes a run at a time.

A claim is a lock on a small file beside what it is for, which the system lifts when its last
holder ends, however it ends. Made for POSIX systems: Windows has no such lock.
"""

import fcntl
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from segbench.errors import InputError

HOLDER = "SEGBENCH_CLAIM"
"""Names the folder whose claim a process has inherited from the one that started it."""


@dataclass
class Claim:
    """A folder that no other process writes, until ``release``.

    Args:
        folder: where it lies; made where it was missing.
        handle: the open lock file. A child process that inherits it shares the claim.
        made: what was made for it and is taken away again where it stays empty.
        inherited: whether the process that started this one holds it too.
    """

    folder: Path
    handle: int
    made: tuple[Path, ...]
    inherited: bool = False
    held: bool = True

    @classmethod
    def on(cls, folder: Path) -> "Claim | None":
        """The claim on ``folder``, or None where another process has it."""
        made = tuple(path for path in (folder, *folder.parents) if not path.exists())
        folder.mkdir(parents=True, exist_ok=True)
        if os.environ.get(HOLDER) == str(folder.resolve()):
            return cls(folder, os.open(folder, os.O_RDONLY), made, inherited=True)
        handle = lock(lock_file(folder), fcntl.LOCK_EX | fcntl.LOCK_NB)
        if handle is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)  # who had it may just have taken it away
        return cls(folder, handle, made)

    def for_a_child(self) -> dict[str, str]:
        """The environment that tells a child, started with ``pass_fds=[handle]``, of its claim."""
        return {HOLDER: str(self.folder.resolve())}

    def release(self) -> None:
        """Let others have it; whoever was started with it must have ended."""
        if not self.held:
            return
        self.held = False
        if not self.inherited:
            self._take_away(self.folder)  # before another can claim it
            lock_file(self.folder).unlink(missing_ok=True)
        os.close(self.handle)
        for path in self.folder.parents:
            self._take_away(path)

    def _take_away(self, path: Path) -> None:
        if path in self.made:
            with suppress(OSError):  # something came into it
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


def lock(path: Path, kind: int) -> int | None:
    """A lock of that kind (``fcntl.LOCK_*``) on a file, as its open handle; None where it is taken.

    Raises:
        InputError: the file system has no locks.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, kind)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError as error:
            os.close(handle)
            raise InputError(
                f"{path}: cannot be locked ({error.strerror}); put the runs on a file system "
                "with locks"
            ) from None
        # the file may have been taken away between its opening and its locking
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)


def lock_file(folder: Path) -> Path:
    """The file beside ``folder`` whose lock is the claim on it."""
    # a file's name has 255 bytes; cells of a study may differ in the last words of theirs alone
    digest = hashlib.blake2b(os.fsencode(folder.name), digest_size=8).hexdigest()
    return folder.parent / f".{folder.name[:40]}.{digest}.claim"
