"""What a run computes in: a memory format, a precision."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from segbench import cli
from segbench.runs import RunFolder
from segbench.training import precision

Segbench = Callable[..., str]

TINY = (
    *("--model.width=8", "--data.crop_size=48", "--data.samples_per_epoch=8"),
    *("--data.batch_size=4", "--trainer.max_epochs=1", "--test=false"),
    "--trainer.accelerator=cpu",
)


@pytest.mark.parametrize(
    ("flags", "lines"), [("avx avx2", 1), ("avx avx512_bf16", 0), ("avx amx_bf16", 0)]
)
def test_16_bits_that_the_processor_emulates_are_warned_of(
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: str,
    lines: int,
):
    monkeypatch.chdir(tmp_path)
    Path("cpuinfo").write_text(f"flags : {flags}\n")
    monkeypatch.setattr(precision, "CPU_INFO", Path("cpuinfo"))
    fit = ("fit", "--data.root", str(scenes), *TINY, "--trainer.precision=bf16-mixed")
    monkeypatch.setattr(sys, "argv", ["segbench", *fit, "--trainer.enable_progress_bar=false"])
    cli.main()
    said = capsys.readouterr().err.splitlines()
    warnings = [line for line in said if line.startswith("segbench: trainer.precision: bf16-mixed")]
    assert len(warnings) == lines


def test_16_bits_throughout_train(segbench: Segbench, scenes: Path):
    segbench("fit", "--data.root", scenes, *TINY, "--trainer.precision=bf16-true", "--run_dir=r/a")
    assert RunFolder(Path("r/a")).finished()


def test_the_memory_format_is_that_of_the_processor_unless_it_is_given(
    segbench: Segbench, scenes: Path, monkeypatch: pytest.MonkeyPatch
):
    def weights(capability: str, *keys: str) -> torch.Tensor:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        run = RunFolder(Path(f"runs/{capability}{''.join(keys)}"))
        segbench("fit", "--data.root", scenes, *TINY, *keys, "--run_dir", run.path)
        stored = torch.load(run.best, weights_only=True)["state_dict"]
        return next(tensor for tensor in stored.values() if tensor.ndim == 4)

    def is_last(tensor: torch.Tensor) -> bool:
        return tensor.is_contiguous(memory_format=torch.channels_last)

    assert is_last(weights("AVX512"))
    assert not is_last(weights("AVX2"))
    assert is_last(weights("AVX2", "--model.channels_last=true"))
    assert not is_last(weights("AVX512", "--model.channels_last=false"))
