"""A study on this machine: what is missing runs, once, whatever is killed on the way."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from comparison import assert_same
from studies import FULL, NONE, SWEEP, children, epochs, until

from segbench.claim import Claim
from segbench.runs import RunFolder

Segbench = Callable[..., str]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``segbench sweep ARGS`` as a process of its own."""
    started = []

    def launch(*args: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "segbench", "sweep", *map(str, args)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield launch
    for process in started:
        process.kill()
        process.communicate()


def test_a_study_is_planned_then_run_then_left_alone(
    segbench: Segbench,
    process: Callable[..., subprocess.CompletedProcess[str]],
    sweep: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("OMP_NUM_THREADS")  # the engine shares the cores out
    printed = segbench("sweep", sweep, "--engine=local", "--workers=2")
    study = Path("runs/aug")
    plan = yaml.safe_load((study / "study.yaml").read_text())
    assert [cell["name"] for cell in plan["cells"]] == [NONE, FULL]
    assert plan["plan"] == {
        "made": "before the runs",
        "factors": {"data.augmentation": ["none", "full"]},
        "contrasts": "baseline",
        "metric": "mean_iou",
        "margin": 0.02,
        "alpha": 0.05,
        "power": 0.8,
        "seeds": [0],
        "looks": [1],
        "paired": False,
        "estimand": "method",
        "randomises": ["initialisation", "order of samples", "crops", "augmentation"],
    }
    assert (plan["data"]["images"], plan["data"]["groups"]) == (3, 3)
    assert "2 of 2 runs are there" in printed
    for name, policy in ((NONE, "none"), (FULL, "full")):
        run = RunFolder(study / name)
        assert run.finished()
        assert run.read_config()["data"]["augmentation"] == policy
        assert run.read_record()["arm"] == {"data.augmentation": policy}
        assert run.read_record()["hardware"]["threads"] == max(1, (os.cpu_count() or 1) // 2)
    # the same runs as by hand, with as many threads
    by_hand = ("--data.augmentation=full", "--run_dir=runs/by_hand/cell")
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    done = process("fit", "--config=base.yaml", *by_hand, OMP_NUM_THREADS=threads)
    assert done.returncode == 0, done.stderr
    assert_same(RunFolder(study / FULL), RunFolder(Path("runs/by_hand/cell")))

    before = {path: path.stat().st_mtime_ns for path in study.rglob("*/*")}
    assert "nothing to do" in segbench("sweep", sweep, "--engine=local")
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*/*")} == before


def test_a_dry_run_prints_what_would_run_and_what_it_could_see(
    segbench: Segbench, sweep: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ("sweep", sweep, "--dry-run", "--seeds=5")
    commands = segbench(*arguments).splitlines()
    assert len(commands) == 10
    assert commands[1] == (
        "segbench fit --config base.yaml --config "
        """'{"data.augmentation": "full", "seed_everything": 0}' """
        "--run_dir runs/aug/augmentation-full_seed-0"
    )
    assert not Path("runs").exists()
    with pytest.raises(SystemExit):
        segbench("sweep", sweep, "--dry-run", "--sedes=5")
    assert "--sedes: no such option" in capsys.readouterr().err
    # a key without a dot is one all the same
    assert '"keep_freed_memory": false' in segbench(*arguments, "--keep_freed_memory=false")


def test_a_killed_launcher_leaves_no_orphan_and_loses_nothing(
    segbench: Segbench, sweep: Path, launch: Callable[..., subprocess.Popen[str]]
):
    arguments = (sweep, "--engine=local", "--workers=2", "--trainer.max_epochs=24")
    first = launch(*arguments)
    runs = [RunFolder(Path("runs/aug") / name) for name in (NONE, FULL)]
    until(lambda: all(run.last.exists() for run in runs))
    cells = children(first.pid)
    assert len(cells) == 2
    first.kill()
    first.wait()
    until(lambda: not any(Path(f"/proc/{cell}").exists() for cell in cells), seconds=10)
    saved = [torch.load(run.last, weights_only=True)["epoch"] + 1 for run in runs]
    assert all(epoch < 24 for epoch in saved), "they should have been met in the middle"

    # a cell killed alone is a failure like any other; the next call goes on with it
    second = launch(*arguments)
    until(lambda: len(children(second.pid)) == 2)
    os.kill(children(second.pid)[0], signal.SIGKILL)
    printed, said = second.communicate(timeout=120)
    assert second.returncode == 1
    assert "1 of 2 runs are there" in printed
    assert "failed (-9)" in said
    segbench("sweep", *arguments)
    logs = Path("runs/aug/logs")
    for run, epoch in zip(runs, saved, strict=True):
        assert run.finished()
        trained = epochs(logs / f"{run.path.name}.txt")
        before = trained.index(epoch) + 1
        assert trained[:before] == list(range(1, epoch + 1))
        # only an epoch that was trained and not yet saved comes twice
        again = trained[before:]
        assert again[-1] == 24
        assert min(again) > epoch

    segbench("sweep", sweep, *arguments[1:], "--out=runs/undisturbed")
    for run in runs:
        assert_same(run, RunFolder(Path("runs/undisturbed") / run.path.name))


def test_ctrl_c_stops_cleanly_and_says_that_the_same_command_goes_on(
    sweep: Path, launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
):
    process = launch(sweep, "--engine=local", "--trainer.max_epochs=1000")
    run = RunFolder(tmp_path / "runs/aug" / NONE)
    until(run.last.exists)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == ("stopped with 2 of 2 runs missing; the same command goes on")
    assert "go on with: segbench fit" in (tmp_path / f"runs/aug/logs/{NONE}.txt").read_text()
    assert run.read_record()["status"] == "failed"


def test_two_launchers_share_the_cells(
    sweep: Path, launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
):
    arguments = (sweep, "--engine=local", "--seeds=2", "--trainer.max_epochs=4")
    both = [launch(*arguments), launch(*arguments)]
    ends = [process.communicate(timeout=180) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    done = [re.findall(r"^(\S+): done", said, re.MULTILINE) for _, said in ends]
    assert sorted(done[0] + done[1]) == sorted({*done[0], *done[1]})
    assert len(done[0] + done[1]) == 4
    for name in done[0] + done[1]:
        assert epochs(tmp_path / f"runs/aug/logs/{name}.txt") == [1, 2, 3, 4]


def test_a_failed_cell_is_shown_and_run_again(
    segbench: Segbench, sweep: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    # a file where the checkpoints should go: the run of this cell fails, the other does not
    obstacle = tmp_path / "runs/aug" / FULL / "checkpoints"
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()
    with pytest.raises(SystemExit) as stop:
        segbench("sweep", sweep, "--engine=local")
    assert stop.value.code == 1
    printed = capsys.readouterr()
    assert "1 of 2 runs are there" in printed.out
    assert f"{FULL} failed" in printed.err
    assert "checkpoints: File exists" in printed.err
    obstacle.unlink()
    assert "2 of 2 runs are there" in segbench("sweep", sweep, "--engine=local")


def test_bad_input_that_every_run_would_die_of_is_met_once(
    process: Callable[..., subprocess.CompletedProcess[str]], sweep: Path
):
    said = process("sweep", sweep, "--data.crop_sise", 32)
    assert said.returncode == 1
    assert said.stderr.count("no such key; did you mean data.crop_size?") == 1
    assert "0 of 2 runs are there" in said.stdout


def test_another_question_is_not_asked_of_the_same_study(
    segbench: Segbench, refusal: Segbench, sweep: Path
):
    quick = ("--engine=local", "--workers=2", "--trainer.max_epochs=1")
    segbench("sweep", sweep, *quick)
    line = refusal("sweep", sweep, "--engine=local", "--trainer.max_epochs=2")
    assert "asks something else: parameters.trainer.max_epochs (1 there, 2 here)" in line
    base = Path("base.yaml").read_text()
    Path("base.yaml").write_text(base.replace("width: 8", "width: 16"))
    line = refusal("sweep", sweep, *quick)
    assert "asks something else: the content of base.yaml" in line
    Path("base.yaml").write_text(f"# the same\n{base}")
    line = refusal("sweep", sweep, *quick, "--seeds=2")
    assert "2 runs are not in its plan (augmentation-none_seed-1, ...)" in line
    printed = segbench("sweep", sweep, *quick, "--seeds=2", "--extend")
    assert "extended with 2 runs: exploratory" in printed
    assert "4 of 4 runs are there" in printed
    # and the plan as it was before stays as it was
    plan = yaml.safe_load(Path("runs/aug/study.yaml").read_text())
    assert plan["plan"]["seeds"] == [0]
    assert len(plan["cells"]) == 2
    for place, key, value in (
        (plan["plan"], "margin", 0.1),
        (plan["extensions"][0], "kind", "declared look"),
    ):
        kept, place[key] = place[key], value
        Path("runs/aug/study.yaml").write_text(yaml.safe_dump(plan))
        assert "differs from its hash" in refusal("sweep", sweep, *quick, "--seeds=2")
        place[key] = kept


def test_a_file_changed_in_mid_study_ends_it(
    segbench: Segbench, sweep: Path, launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
):
    process = launch(sweep, "--engine=local", "--trainer.max_epochs=3")
    until((tmp_path / "runs/aug" / NONE / "run.json").exists)
    base = tmp_path / "base.yaml"
    before = base.read_text()
    base.write_text(before.replace("width: 8", "width: 4"))
    _, said = process.communicate(timeout=90)
    assert process.returncode == 2
    assert said.splitlines()[-1] == (
        "segbench: base.yaml: was changed while its study runs; undo the change, and the same "
        "command goes on"
    )
    assert not (tmp_path / "runs/aug" / FULL / "run.json").exists()
    base.write_text(before)
    assert "2 of 2 runs" in segbench("sweep", sweep, "--engine=local", "--trainer.max_epochs=3")


def test_two_launchers_with_two_questions_do_not_mix(
    sweep: Path, launch: Callable[..., subprocess.Popen[str]], tmp_path: Path
):
    first = launch(sweep, "--engine=local", "--trainer.max_epochs=2")
    until((tmp_path / "runs/aug/study.yaml").exists)  # nothing has run yet
    second = launch(sweep, "--engine=local", "--trainer.max_epochs=1")
    _, said = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "asks something else: parameters.trainer.max_epochs (2 there, 1 here)" in said
    printed, _ = first.communicate(timeout=120)
    assert "2 of 2 runs are there" in printed


def test_declared_looks_are_no_exploration(segbench: Segbench, sweep: Path):
    sweep.write_text(yaml.safe_dump(SWEEP | {"plan": {"looks": [1, 2]}}, sort_keys=False))
    quick = ("--engine=local", "--workers=2", "--trainer.max_epochs=1")
    segbench("sweep", sweep, *quick)
    assert "2 runs: declared look" in segbench("sweep", sweep, *quick, "--seeds=2", "--extend")


def test_a_plan_of_which_nothing_ran_gives_way(segbench: Segbench, sweep: Path, tmp_path: Path):
    bad = ("--model.width=-1", "--workers=2")
    with pytest.raises(SystemExit):
        segbench("sweep", sweep, "--engine=local", *bad)
    assert "2 of 2 runs are there" in segbench(
        "sweep", sweep, "--engine=local", "--workers=2", "--trainer.max_epochs=1"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--engine=wandb",), "--engine wandb: needs W&B"),
        (("--workers=0",), "--workers: 0; give 1 or more"),
        (("--address=auto",), "--address: is for --engine ray"),
        (("--data.root=nowhere",), "data.root: nowhere is not a folder"),
        (("more",), "more: not understood"),
    ],
)
def test_bad_arguments(
    refusal: Segbench,
    sweep: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    complaint: str,
):
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("NETRC", "none")
    assert complaint in refusal("sweep", sweep, *arguments)
    assert not Path("runs").exists()


def test_a_foreign_run_is_not_taken_for_a_cell(segbench: Segbench, refusal: Segbench, sweep: Path):
    segbench(
        *("fit", "--config=base.yaml", "--data.augmentation=none", "--trainer.max_epochs=1"),
        *("--run_dir", f"runs/aug/{NONE}"),
    )
    segbench("sweep", sweep, "--dry-run", "--out=runs/other")
    assert "holds runs that no plan asked for" in refusal("sweep", sweep, "--engine=local")
    Path("runs/plan").mkdir()
    quick = ("--engine=local", "--trainer.max_epochs=1", "--out=runs/plan")
    segbench("sweep", sweep, *quick)
    # the same arm and seed, trained for longer than the plan says
    record = RunFolder(Path("runs/plan") / NONE).read_record()
    record["arm"] = record["arm"] | {"trainer.max_epochs": 7}
    RunFolder(Path("runs/plan") / NONE).write_record(
        {key: value for key, value in record.items() if key != "format"}
    )
    assert "holds another run than the plan asks for" in refusal("sweep", sweep, *quick)


def test_a_claim_is_shared_with_children_and_with_nobody_else(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from segbench.claim import Claim;"
        "print(Claim.on(Path(sys.argv[1])) is not None)"
    )

    def other(**env: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "run")],
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    claim = Claim.on(tmp_path / "run")
    assert claim is not None
    assert other() == "False"
    assert other(**claim.for_a_child()) == "True"
    claim.release()
    assert not (tmp_path / "run").exists()
    assert other() == "True"


def test_names_that_end_differently_are_claimed_apart(tmp_path: Path):
    shared = "й" * 111  # over 200 bytes
    claims = [Claim.on(tmp_path / f"{shared}_seed-{seed}") for seed in (0, 1)]
    assert None not in claims
    for claim in claims:
        assert claim is not None
        claim.release()
    assert list(tmp_path.iterdir()) == []
