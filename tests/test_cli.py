"""The door: quick to open, clear when it stays shut."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Segbench = Callable[..., str]

HEAVY = ("torch", "pytorch_lightning", "albumentations", "cv2", "wandb", "numpy", "rich")


def imported_by(statement: str) -> set[str]:
    """Top-level packages and segbench modules that a fresh interpreter has after it."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_help_needs_nothing_heavy(segbench: Segbench):
    assert not imported_by("import segbench.cli") & set(HEAVY)
    text = segbench("--help")
    assert all(
        verb in text for verb in ("fit", "validate", "test", "predict", "sweep", "runs", "data")
    )
    assert segbench() == text


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("segbench.report.runs_table", ("torch", "pytorch_lightning", "segbench.models")),
        (
            "segbench.study.commands",
            ("torch", "wandb", "ray", "scipy", "segbench.training", "segbench.analysis"),
        ),
        ("segbench.analysis.stats", ("torch", "pandas", "segbench.data", "segbench.runs")),
        ("segbench.training.commands", ("segbench.study", "segbench.analysis")),
        ("segbench.runs", ("torch", "pytorch_lightning", "segbench.data")),
        ("segbench.metrics", ("torch", "segbench.data")),
        ("segbench.taps", ("torch", "segbench.models")),
        ("segbench.analysis.diagnosis", ("torch", "segbench.data", "segbench.inference")),
        ("segbench.report.augmentation", ("torch", "segbench.data", "segbench.inference")),
        ("segbench.report.aspp", ("torch", "segbench.models", "segbench.inference")),
        ("segbench.report.page.command", ("torch", "wandb", "sklearn", "segbench.inference")),
        ("segbench.report.publish", ("torch", "wandb", "plotly", "segbench.models")),
        ("segbench.report.publication", ("torch", "pytorch_lightning", "segbench.models")),
        ("segbench.inference.augmentation", ("torch", "albumentations")),  # until it measures
        ("segbench.inference.aspp", ("torch",)),
        ("segbench.models", ("pytorch_lightning", "segbench.data", "segbench.task")),
        ("segbench.inference.load", ("pytorch_lightning", "segbench.task", "segbench.training")),
        ("segbench.inference.segment", ("pytorch_lightning", "segbench.task", "rasterio")),
        ("segbench.data.datamodule", ("segbench.models", "segbench.task", "segbench.runs")),
        ("segbench.task", ("segbench.runs", "segbench.training")),
        *(
            (f"segbench.data.{module}", ("torch", "albumentations", "scipy", "segbench.runs"))
            for module in ("survey.command", "split", "colormap", "floodnet")
        ),
    ],
)
def test_arrows_point_one_way(module: str, forbidden: tuple[str, ...]):
    assert not imported_by(f"import {module}") & set(forbidden)


def test_the_verbs_of_data_are_listed_before_anything_is_imported(
    segbench: Segbench, refusal: Segbench
):
    assert not imported_by("from segbench.data.commands import main; main(['--help'])") & set(HEAVY)
    text = segbench("data", "--help")
    verbs = ("generate", "check", "split", "prepare floodnet", "prepare colormap")
    assert all(f"\n  {verb} " in text for verb in verbs)
    assert segbench("data") == segbench("data", "prepare", "--help") == text
    for verb in verbs:
        with pytest.raises(SystemExit) as stop:
            segbench("data", *verb.split(), "--help")
        assert stop.value.code == 0
    assert refusal("data", "chekc") == "segbench: data chekc: no such verb; did you mean check?"
    assert "did you mean prepare floodnet?" in refusal("data", "prepare", "flodnet")
    assert "data prepare: no such verb" in refusal("data", "prepare")
    assert "the following arguments are required: --out" in refusal("data", "generate")


def test_an_unknown_command_is_refused_with_the_nearest(refusal: Segbench):
    assert refusal("fti") == "segbench: fti: no such command; did you mean fit?"
    assert "one of: fit, validate" in refusal("dance")


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--model.architecture=unett", "unet"),
        ("--model.arcitecture=unet", "model.arcitecture"),
        ("--data.augmentation=ful", "full_minus_flip"),
        ("--data.crop_size=big", "data.crop_size"),
        ("--seed_everything=True", "seed_everything"),
        ("--model.aspp=false", "model.aspp: unet has no such part"),
        ("--config=nowhere.yaml", "nowhere.yaml"),
        ("--ckpt_path=nowhere.ckpt", "nowhere.ckpt"),
    ],
)
def test_a_bad_argument_is_one_line(refusal: Segbench, scenes: Path, argument: str, complaint: str):
    line = refusal("fit", "--data.root", scenes, argument)
    assert line.startswith("segbench: ")
    assert complaint in line
    assert not Path("runs").exists()


def test_a_missing_data_set_names_the_command_that_makes_one(refusal: Segbench):
    assert "segbench data generate --out data/scenes" in refusal("fit")


def test_a_folder_without_runs_is_refused(refusal: Segbench, tmp_path: Path):
    assert "no runs here" in refusal("runs", tmp_path)


def test_evaluation_needs_to_know_of_what(refusal: Segbench, scenes: Path):
    assert "--run_dir" in refusal("test", "--data.root", scenes)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path):
    shell = f"'{sys.executable}' -m segbench --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert "Traceback" not in done.stderr


def test_a_cell_of_a_notebook_is_no_terminal(
    process: Callable[..., subprocess.CompletedProcess[str]], scenes: Path
):
    done = process("data", "check", scenes, FORCE_COLOR="1")  # as Jupyter sets it
    assert "│ Background │" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "command", [("compare", "s", "--csv"), ("errors", "s", "--json"), ("pick", "s", "--json")]
)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    refusal: Segbench, command: tuple[str, ...], tmp_path: Path
):
    assert "nowhere is not a folder; make it first" in refusal(*command, "nowhere/x")
    assert "is a folder; name a file" in refusal(*command, tmp_path)
