"""How much memory a call needs at its peak."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import torch

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


def peak_memory(call: Callable[[], object], device: torch.device) -> float | None:
    """Megabytes that ``call`` adds to what is in use, at its peak; None where nobody counts them.

    On a CPU that is the kernel's count of the process's pages (Linux), which includes what
    libraries keep for later calls.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    if not os.access(RESET, os.W_OK):
        return None
    _give_back()
    before = _kilobytes("VmRSS")
    RESET.write_text("5")  # the peak begins anew, at what is in use now
    call()
    return (_kilobytes("VmHWM") - before) * 1024 / 1e6


def _give_back() -> None:
    """Let glibc hand freed memory back, or ``call`` would get it without being seen to."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _kilobytes(key: str) -> int:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1])
