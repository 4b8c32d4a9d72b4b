"""``segbench publish``: the real client and the real library against a loopback server."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from studies_on_paper import plan_of, write_run
from wandb_records import Run, View
from wandb_server import WandbServer

from segbench.runs import RunFolder

Segbench = Callable[..., str]
FACTOR = "data.augmentation"
VAL = (0.1, 0.25, 0.2)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WandbServer]:
    with WandbServer(tmp_path / "server") as server:
        yield server
        assert server.unknown == []


def call(tmp_path: Path, server: WandbServer, *args: object, code: int = 0, **env: str) -> str:
    """``segbench ARGS`` in a process of its own: W&B's client leaves its marks in one."""
    done = subprocess.run(
        [sys.executable, "-m", "segbench", *map(str, args)],
        cwd=tmp_path,
        env=os.environ | server.env | env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout


def counts(seed: int, right: float) -> NDArray[np.int64]:
    """Confusion counts of 12 test images, three classes."""
    rng = np.random.default_rng(seed)
    shares = np.full((3, 3), (1 - right) / 2) + np.eye(3) * (right - (1 - right) / 2)
    return np.stack([[rng.multinomial(900, share) for share in shares] for _ in range(12)])


def study_on_paper(folder: Path) -> Path:
    """Two arms, two seeds, none of them logged to W&B; one image kept for looking at."""
    folder.mkdir()
    for arm, (policy, right) in enumerate((("none", 0.6), ("full", 0.8))):
        for seed in (0, 1):
            run = write_run(
                folder, {FACTOR: policy}, seed, counts(10 * arm + seed, right), val=VAL,
                size_mb=30.0 + arm,
            )  # fmt: skip
            run.write_benchmark(benchmark(12.5 + arm))
            record = run.read_record()
            names = ("Sky", "Roof <flat>", "Road")
            record["classes"] = [
                {"id": k, "name": name, "color": [k, k, k]} for k, name in enumerate(names)
            ]
            run.write_record(record)
            (run.test / "predictions").mkdir()
            grey(run.test / "predictions" / "image_000.png", 20, 16, arm)
    for kind, suffix, width in (("image", "jpg", 10), ("truth", "png", 20)):
        (folder / "test" / kind).mkdir(parents=True)
        grey(folder / "test" / kind / f"image_000.{suffix}", width, width * 4 // 5, 2)
    plan_of(folder, {FACTOR: ["none", "full"]}, 2)
    return folder


def grey(path: Path, width: int, height: int, value: int) -> None:
    Image.fromarray(np.full((height, width), value, np.uint8)).save(path)


def benchmark(latency: float) -> dict[str, Any]:
    eager = {"latency_ms": latency, "blocks_ms": [latency] * 3}
    sizes = {"parameters": 10, "macs": 10**9, "size_mb": 30.0, "peak_memory_mb": 8.0}
    return {"measured": "now", "runtimes": {"eager": eager}, **sizes}


def panels(view: View) -> dict[str, list[dict[str, Any]]]:
    """What each section shows: the configurations of its panels."""
    sections = view.spec["section"]["panelBankConfig"]["sections"]
    return {one["name"]: [panel["config"] for panel in one["panels"]] for one in sections}


def row_of(curves: dict[str, Any]) -> dict[str, Any]:
    """A row of history without what the client adds."""
    return {key: value for key, value in curves.items() if not key.startswith("_")}


def at(config: dict[str, Any], key: str) -> Any:
    """What a workspace means by ``data.value.augmentation``: KeyError if a run has no such key."""
    first, value, *rest = key.split(".")
    assert value == "value"
    found = config[first]
    for part in rest:
        found = found[part]
    return found


def logged(run: Run, key: str) -> Any:
    """The file of a table or a figure in a run's summary."""
    return json.loads(run.files[run.summary[key]["path"]].read_text())


def verdicts(server: WandbServer) -> Run:
    (run,) = (run for run in server.runs.values() if run.job_type == "comparison")
    return run


def test_a_local_study_and_its_verdicts_go_up_and_a_second_time_stay_the_same(
    server: WandbServer, tmp_path: Path, segbench: Segbench
):
    study = study_on_paper(tmp_path / "aug")
    printed = call(tmp_path, server, "publish", study)
    assert "aug: 4 runs in tester/segbench (4 logged from run folders)" in printed
    comparison = verdicts(server)
    trained = {run.display_name: run for run in server.runs.values() if run is not comparison}
    assert len(trained) == 4
    for name, run in trained.items():
        folder = RunFolder(study / name)
        assert (run.group, run.state) == ("aug", "finished")
        with folder.metrics.open() as stream:
            rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(stream)]
        history = [row_of(row) for row in run.history]
        assert history[-1].pop("examples")["captions"] == ["test: image_000"]
        assert history == rows
        record, arm = folder.read_record(), folder.read_config()["data"]["augmentation"]
        assert run.config["model"] == folder.read_config()["model"]
        assert run.config["study"] == {"name": "aug", "arm": arm, "seed": record["seed"]}
        assert run.summary["test/mean_iou"] == record["scores"]["test"]["mean_iou"]
        assert run.summary["cost/train_seconds"] == 180
        assert run.summary["cost/size_mb"] == {"none": 30, "full": 31}[arm]
        assert run.summary["cost/latency_ms"] == {"none": 12.5, "full": 13.5}[arm]
        (masks,) = run.summary["examples"]["all_masks"]
        ids = np.asarray(Image.open(run.files[masks["prediction"]["path"]]))
        assert (ids.shape, np.unique(ids).tolist()) == ((16, 20), [arm == "full"])

    segbench("compare", study, "--json=v.json")
    stored = json.loads(Path("v.json").read_text())
    table = logged(comparison, "verdicts")
    assert [dict(zip(table["columns"], row, strict=True)) for row in table["data"]] == stored
    (row,) = logged(comparison, "costs")["data"][:1]
    assert row[0] == "none"
    figure = logged(comparison, "forest")
    (points,) = figure["data"]
    assert points["x"] == [stored[0]["difference"]]
    sentence = "Augmentation (full against none) changes the mean IoU of UNet by"
    assert sentence in str(comparison.notes)

    (view,) = server.views.values()
    assert view.display_name == "aug"
    assert f"{server.url}/tester/segbench?nw=" in printed
    check_view(view, comparison, list(trained.values()), sentence)

    before = {run.id: len(run.history) for run in trained.values()}
    spec = [panels(view)["Curves"], view.spec["section"]["runSets"][0]["filters"]]
    again = call(tmp_path, server, "publish", study)
    assert "(4 there already)" in again
    assert f"workspace updated: {printed.rsplit(' ', 1)[-1]}" in again
    assert {run.id for run in server.runs.values()} == {*before, comparison.id}
    assert {run: len(server.runs[run].history) for run in before} == before
    (updated,) = server.views.values()
    assert updated.name == view.name
    assert spec == [panels(updated)["Curves"], updated.spec["section"]["runSets"][0]["filters"]]


def check_view(view: View, comparison: Run, trained: list[Run], sentence: str) -> None:
    """Every key that a panel asks for is one that the runs have."""
    shown = panels(view)
    (runs,) = view.spec["section"]["runSets"]
    (condition,) = runs["filters"]["filters"]
    assert (condition["key"]["name"], condition["op"]) == ("name", "IN")
    assert set(condition["value"]) == {run.id for run in (*trained, comparison)}
    assert [at(run.config, key["name"]) for key in runs["grouping"] for run in trained]
    curves = [metric for panel in shown["Curves"] for metric in panel["metrics"]]
    assert curves == ["val/mean_iou", "train/loss", "train_clean/mean_iou", "val/loss"]
    for panel in shown["Curves"]:
        assert (panel["xAxis"], panel["groupAgg"], panel["groupArea"]) == (
            *("epoch", "mean", "stddev"),
        )
        for run in trained:
            at(run.config, panel["groupBy"])
            (metric,) = panel["metrics"]
            if metric != "val/loss":  # which runs on paper have not
                assert any({"epoch", metric} <= row.keys() for row in run.history)
    for panel in shown["Cost"]:
        for run in trained:
            assert panel["xAxis"].removeprefix("summary:") in run.summary
            assert panel["yAxis"].removeprefix("summary:") in run.summary
    (parallel,) = shown["Parallel coordinates"]
    for axis in parallel["columns"]:
        kind, _, key = axis["accessor"].partition(":")
        for run in trained:
            assert key in run.summary if kind == "summary" else at(run.config, key) is not None
    (masks,) = shown["Prediction masks"]
    assert all(key in run.summary for key in masks["mediaKeys"] for run in trained)
    text, forest, *tables = shown["Verdicts"]
    assert sentence in text["value"]
    assert all(key in comparison.summary for key in forest["mediaKeys"])
    assert len(tables) == 2
    assert all(key in json.dumps(table) for key, table in zip(("verdicts", "costs"), tables))  # noqa: B905


def test_offline_runs_are_synced_once_and_the_others_logged_from_their_folders(
    server: WandbServer, scenes: Path, tmp_path: Path
):
    fit = ("fit", "--data.root", scenes, "--model.width=8", "--data.crop_size=48")
    fit += ("--data.samples_per_epoch=8", "--data.batch_size=4", "--trainer.max_epochs=2")
    offline = {"WANDB_API_KEY": "", "NETRC": str(tmp_path / "none"), "WANDB_PROJECT": "roofs"}
    for policy, known in (("none", "true"), ("full", "false")):
        where = (f"--data.augmentation={policy}", f"--run_dir=study/{policy}", f"--wandb={known}")
        call(tmp_path, server, *fit, *where, **offline)
    assert not server.runs
    synced = (tmp_path / "study/none/wandb/run_path").read_text().split("/")[-1]
    printed = call(tmp_path, server, "publish", "study")
    # where the run that was logged offline was logged to
    assert "2 runs in tester/roofs (1 synced, 1 logged from run folders)" in printed
    comparison = verdicts(server)
    trained = [run for run in server.runs.values() if run is not comparison]
    assert synced in {run.id for run in trained}
    for run in trained:
        rows = RunFolder(tmp_path / "study" / run.display_name).read_metrics()
        for key in ("val/mean_iou", "train/loss", "train_clean/mean_iou", "val/loss"):
            found = [row[key] for row in run.history if key in row]
            assert found == pytest.approx([row[key] for row in rows])
            assert all("epoch" in row for row in run.history if key in row)
        assert run.summary["examples"]["count"] >= 2
        assert run.config["study"]["arm"] == run.config["data"]["augmentation"]
        assert run.summary["cost/train_seconds"] == pytest.approx(rows[-1]["seconds"])
        assert "test/mean_iou" in run.summary
    (view,) = server.views.values()
    check_view(view, comparison, trained, "Augmentation (full against none)")

    lines = {run.id: len(run.history) for run in trained}
    assert "(2 there already)" in call(tmp_path, server, "publish", "study")
    assert {run.id: len(server.runs[run.id].history) for run in trained} == lines
    # without what the client left, its run is not known any more
    shutil.rmtree(tmp_path / "study/none/wandb")
    printed = call(tmp_path, server, "publish", "study", "--project=roofs")
    assert "(1 logged from run folders, 1 there already)" in printed


LOG_OFFLINE = """
import json, sys, wandb
folder, rows = sys.argv[1], json.loads(sys.argv[2])
with wandb.init(project="roofs", id="goes-on", dir=folder, mode="offline") as run:
    for row in rows:
        run.log(row)
"""


def test_of_a_run_that_went_on_offline_the_newest_file_goes_up(server: WandbServer, tmp_path: Path):
    study = study_on_paper(tmp_path / "aug")
    folder = RunFolder(study / "augmentation-none_seed-0")
    rows = folder.read_metrics()
    for began, part in (("20260101_000000", rows[:1]), ("20260101_000001", rows)):
        script = [sys.executable, "-c", LOG_OFFLINE, str(folder.path), json.dumps(part)]
        subprocess.run(script, env=os.environ | {"WANDB_SILENT": "true"}, check=True)
        (made,) = (folder.path / "wandb").glob(f"offline-run-{time.strftime('%Y')}*")
        made.rename(folder.path / "wandb" / f"kept-run-{began}-goes-on")
    for made in (folder.path / "wandb").glob("kept-run-*"):
        made.rename(made.with_name(made.name.replace("kept", "offline")))
    (folder.path / "wandb" / "run_path").write_text("roofs/goes-on")
    assert "(1 synced, 3 logged from run folders)" in call(tmp_path, server, "publish", study)
    assert [row_of(row) for row in server.runs["goes-on"].history] == rows


def test_crossed_factors_and_a_workspace_that_was_deleted(server: WandbServer, tmp_path: Path):
    study = tmp_path / "crossed"
    for number, (file, aspp) in enumerate(product(("off", "on"), (False, True))):
        arm = {"config": f"sweeps/{file}.yaml", "model.aspp": aspp}
        write_run(study, arm, 0, counts(number, 0.7))
    call(tmp_path, server, "publish", study, "--entity=team", "--project=other")
    comparison = verdicts(server)
    assert {run.project for run in server.runs.values()} == {"other"}
    (view,) = server.views.values()
    (runs,) = view.spec["section"]["runSets"]
    keys = [key["name"] for key in runs["grouping"]]
    assert keys == ["study.value.config", "model.value.aspp"]
    for run in server.runs.values():
        if run is not comparison:
            config, aspp = (at(run.config, key) for key in keys)
            arm = at(run.config, panels(view)["Curves"][0]["groupBy"])
            assert arm == f"{config}, {'on' if aspp else 'off'}"
    rows = [name for trace in logged(comparison, "forest")["data"] for name in trace["y"]]
    assert rows[:2] == ["Configuration: on - off", "ASPP: on - off"]  # not one row for both
    assert len(rows) == len(set(rows)) == 3  # and their interaction
    server.views.clear()
    said = call(tmp_path, server, "publish", study, "--entity=team", "--project=other")
    assert "is no more there; a new one takes its place" in said
    assert len(server.views) == 1


def test_runs_of_two_projects_need_a_choice(server: WandbServer, tmp_path: Path):
    study = study_on_paper(tmp_path / "aug")
    for name, project in (("none", "roofs"), ("full", "roads")):
        folder = study / f"augmentation-{name}_seed-0" / "wandb"
        folder.mkdir()
        (folder / "run_path").write_text(f"tester/{project}/{name}")
    said = call(tmp_path, server, "publish", study, code=2)
    assert said.splitlines() == [
        f"segbench: {study}: its runs were logged to roads and roofs; choose one with --project"
    ]


def test_without_a_key_or_a_server_that_answers_it_is_refused_at_once(
    refusal: Segbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    study = study_on_paper(tmp_path / "aug")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    wanted = (
        "segbench: segbench publish: needs W&B: a key (wandb login, or WANDB_API_KEY) and a "
        "server that answers"
    )
    assert refusal("publish", study) == wanted
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the call and says nothing
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        assert refusal("publish", study) == wanted
        assert time.monotonic() - began < 20


def test_what_cannot_be_compared_is_not_published(refusal: Segbench, tmp_path: Path):
    assert "no runs here (folders with a run.json)" in refusal("publish", tmp_path)
    write_run(tmp_path / "s", {FACTOR: "none"}, 0, counts(0, 0.7))
    assert "one arm only; there is nothing to compare" in refusal("publish", tmp_path / "s")
