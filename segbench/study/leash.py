"""A process that ends when the one that started it does: no orphan trains on.

As a module it puts another command on the leash: ``python -m segbench.study.leash COMMAND ...``.
"""

import ctypes
import os
import signal
import sys
import threading
import time

PARENT = "SEGBENCH_PARENT"
"""The process id of who started a cell."""

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """From now on, be killed when the parent process ends.

    On Linux the kernel does it, at once, and through an ``exec`` too. Elsewhere a thread looks
    every second. The parent must have started this process from a thread that lives as long.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    # it may have ended before it could be noticed; Lightning's further processes have another
    expected = os.environ.get(PARENT, str(parent)) if "LOCAL_RANK" not in os.environ else parent
    if os.getppid() != int(expected):
        os.kill(os.getpid(), signal.SIGKILL)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent()
    del os.environ[PARENT]  # what this command starts has it for a parent
    os.execvp(sys.argv[1], sys.argv[1:])
