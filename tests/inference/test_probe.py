"""What takes data and networks: affinity, idle taps, and the two commands on real runs."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segbench import cli, metrics
from segbench.data.augment import CropPolicy
from segbench.data.dataset import read_data_set, read_image, read_mask
from segbench.inference.load import load_network
from segbench.inference.probe import branches_of, without_idle_taps
from segbench.models import build_model
from segbench.runs import RunFolder

Segbench = Callable[..., str]
CPU = torch.device("cpu")
RATE, CROP, STRIDE = 2, 48, 32
"""On crops of 48 px the map is 2 x 2 and the rate sees padding; on images of 96 px it is 3 x 3."""


@pytest.fixture
def study(networks: Path, tmp_path: Path) -> Path:
    """Runs a (no augmentation) and b (flips) of one network, and c of another."""
    folder = Path(shutil.copytree(networks, tmp_path / "study"))
    for run in folder.glob("[abc]"):
        call_it_good(RunFolder(run))
    return folder


def call_it_good(run: RunFolder) -> None:
    """Its test counts are now half right: after a few steps it would be called diverged."""
    tested = run.read_counts()
    truth = tested.counts.sum(2)
    right = truth - truth // 2
    counts = np.einsum("nk,kl->nkl", right, np.eye(len(tested.classes), dtype=np.uint64))
    counts[..., 0] += truth // 2
    run.write_counts(replace(tested, counts=counts))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, scenes: Path) -> Path:
    """A study of one run whose ASPP saw padding in training."""
    folder = tmp_path_factory.mktemp("context")
    base = ["--data.root", str(scenes), f"--data.crop_size={CROP}", "--data.samples_per_epoch=4"]
    base += ["--data.batch_size=2", "--trainer.max_epochs=1", "--model.architecture=deeplab"]
    base += ["--model.backbone=resnet18", "--model.width=8", f"--model.aspp_rates=[1,{RATE}]"]
    base += [f"--model.output_stride={STRIDE}", "--run_dir", str(folder / "study" / "a")]
    before, argv = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = ["segbench", "fit", *base]
    try:
        cli.main()
    finally:
        os.environ.pop("SEGBENCH_RUN_DIR", None)
        os.chdir(before)
        sys.argv = argv
    call_it_good(RunFolder(folder / "study" / "a"))
    return folder / "study"


def make_lively(run: RunFolder, scenes: Path) -> None:
    """Trained for two steps a network calls everything one class; this one sees differences."""
    network = load_network(run, CPU).network.train()
    torch.manual_seed(0)
    with torch.no_grad():
        network.network.classifier.weight.normal_()
        for _ in range(20):  # for its batch norm
            for pair in read_data_set(scenes).val:
                network(torch.from_numpy(read_image(pair.image).transpose(2, 0, 1).copy())[None])
    checkpoint = torch.load(run.best, weights_only=True)
    for name, tensor in network.state_dict().items():
        checkpoint["state_dict"][f"network.{name}"] = tensor
    torch.save(checkpoint, run.best)


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    counts = np.zeros((classes, classes), int)
    for t, p in zip(truth.ravel(), predicted.ravel(), strict=True):
        if t != 255:
            counts[t, p] += 1
    return counts


def told(segbench: Segbench, *args: object) -> tuple[str, dict[str, Any]]:
    printed = segbench(*args, "--json=found.json")
    content: dict[str, Any] = json.loads(Path("found.json").read_text())
    return " ".join(printed.split()), content


def test_affinity_is_the_clean_networks_score_on_augmented_validation_crops(
    segbench: Segbench, study: Path, scenes: Path
):
    run = RunFolder(study / "a")
    make_lively(run, scenes)
    _, content = told(segbench, "augmentation", study, "--crops=5")
    (found,) = [one for one in content["affinity"] if one["affinity"]]
    network = load_network(run, CPU).network
    val = read_data_set(scenes).val
    scores = []
    for policy in ("flip", "none"):
        draw = CropPolicy(policy, 1.0, CROP)  # type: ignore[arg-type]
        counts = np.zeros((8, 8), int)
        for number in range(5):
            pair = val[number % len(val)]
            rng = np.random.default_rng([0, number])
            image, mask = draw(read_image(pair.image), read_mask(pair.mask), rng)
            with torch.inference_mode():
                logits = network(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])
            counts += confusion(mask, logits[0].argmax(0).numpy(), 8)
        scores.append(float(metrics.mean_iou(counts)))
    assert scores[0] != scores[1]
    assert found["affinity"]["value"] == pytest.approx(scores[0] / scores[1])
    assert found["crops"] == 5


def test_probes_are_kept_and_not_made_twice(segbench: Segbench, study: Path):
    before, content = told(segbench, "augmentation", study, "--crops=3")
    probes = {path: path.read_text() for path in study.glob("*/probe.json")}
    assert [path.parent.name for path in sorted(probes)] == ["a", "b", "c"]
    for path in study.glob("*/checkpoints/*"):
        path.unlink()
    again, same = told(segbench, "augmentation", study, "--no-measure")
    assert same == content
    assert again == before
    assert told(segbench, "augmentation", study, "--crops=3") == (before, content)
    assert {path: path.read_text() for path in study.glob("*/probe.json")} == probes


def test_a_baseline_without_its_checkpoint_is_named(segbench: Segbench, study: Path):
    RunFolder(study / "a").best.unlink()
    printed, content = told(segbench, "augmentation", study, "--crops=3")
    assert "not measured: affinity for 1 of 1 seed of none, 8: no checkpoints here" in printed
    assert [one["affinity"] for one in content["affinity"]] == [None]


def test_the_sheet_shows_every_arm(segbench: Segbench, study: Path):
    segbench("augmentation", study, "--no-measure", "--sheet=sheet.jpg")
    with Image.open("sheet.jpg") as sheet:
        width, height = sheet.size
    # 3 arms of 6 crops beside their labels, 3 in a row, under a title; a legend
    assert width == 6 * 196
    assert 3 * (24 + 2 * 196) < height < 3 * (24 + 2 * 196) + 4 * 24


def test_data_that_is_not_at_hand(
    segbench: Segbench, refusal: Segbench, study: Path, scenes: Path, tmp_path: Path
):
    for config in study.glob("*/config.yaml"):
        config.write_text(config.read_text().replace(str(scenes), "gone"))
    printed, content = told(segbench, "augmentation", study)
    assert "warning: not measured: data.root gone is not here" in printed
    assert content["policies"] == {}
    assert "--sheet: data.root gone is not here" in refusal("augmentation", study, "--sheet=s.png")
    assert "--data nowhere: no such folder" in refusal("augmentation", study, "--data=nowhere")
    other = Path(shutil.copytree(scenes, tmp_path / "other"))
    for path in (other / "train" / "mask").iterdir():
        Image.fromarray(np.zeros((96, 96), np.uint8)).save(path)
    assert "is not the data set of" in refusal("augmentation", study, "--data", other)
    _, content = told(segbench, "augmentation", study, "--data", scenes, "--crops=2")
    assert len(content["policies"]) == 3


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--crops=0", "0: give 1 or more"),
        ("--sheet=x.pdf", "x.pdf: give a name in .png or .jpg or .jpeg"),
        ("--json=nowhere/f.json", "nowhere/f.json: nowhere is not a folder; make it first"),
        ("--device=tpu", "--device: tpu; give auto, cpu or cuda"),
    ],
)
def test_bad_arguments_are_one_line(refusal: Segbench, study: Path, argument: str, complaint: str):
    assert complaint in refusal("augmentation", study, argument)


def test_idle_taps_are_those_without_a_gradient():
    torch.manual_seed(0)
    network = build_model("deeplab", 5, backbone="resnet18", width=8, aspp_rates=[1, 3, 4],
                          output_stride=32, variant="separable")  # fmt: skip
    network(torch.randint(0, 256, (2, 3, 96, 96), dtype=torch.uint8)).square().sum().backward()
    branches = branches_of(network, 96)
    assert [branch.rate for branch in branches] == [1, 3, 4]
    for branch in branches:
        gradient = branch.conv.weight.grad
        assert gradient is not None
        assert torch.equal(branch.idle, (gradient == 0).all((0, 1)))
    assert branches_of(build_model("unet", 5, width=4), 96) == []


def test_zeroing_idle_taps_by_hand(scenes: Path):
    torch.manual_seed(0)
    network = build_model(
        "deeplab", 8, backbone="resnet18", width=8, aspp_rates=[1, RATE], output_stride=STRIDE
    ).eval()
    pairs = read_data_set(scenes).test[:2]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = without_idle_taps(network, branches_of(network, CROP), pairs, 8)
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)
    conv = network.network.context.branches[2][0]
    maps: list[torch.Tensor] = []
    conv.register_forward_hook(lambda _, inputs, output: maps.extend((inputs[0], output)))
    idle = torch.ones(3, 3, dtype=torch.bool)
    idle[1, 1] = False
    weight = conv.weight.detach().clone()
    by_hand = []
    energy = np.zeros(2)
    with torch.inference_mode():
        conv.weight[..., idle] = 0
        for pair in pairs:
            image = torch.from_numpy(read_image(pair.image).transpose(2, 0, 1).copy())[None]
            predicted = network(image)[0].argmax(0).numpy()
            by_hand.append(confusion(read_mask(pair.mask), predicted, 8))
            entered, trained = maps[-2:]
            everything = torch.nn.functional.conv2d(entered, weight, padding=RATE, dilation=RATE)
            energy += [(everything - trained).square().sum(), trained.square().sum()]
    assert np.array_equal(found["counts"], by_hand)
    assert found["images"] == [pair.name for pair in pairs]
    assert found["energy"][0] == 0
    assert found["energy"][1] == pytest.approx(energy[0] / energy.sum(), rel=1e-3)
    assert 0 < found["energy"][1] < 1


def test_the_command_scores_a_run_without_them(segbench: Segbench, context: Path):
    printed, content = told(segbench, "aspp", context)
    (arm,) = content["arms"]
    assert [branch["idle"] for branch in arm["branches"]] == [0, 8]
    assert arm["branches"][1]["energy"] > 0
    run = RunFolder(context / "a")
    probe = run.read_probe()["taps"]
    before, after = run.read_counts().counts.astype(int), np.array(probe["counts"])
    expected = metrics.mean_iou(after.sum(0)) - metrics.mean_iou(before.sum(0))
    assert arm["zeroed"]["difference"] == pytest.approx(expected)
    assert (after.sum((1, 2)) == before.sum((1, 2))).all()
    assert "the rate 2 saw only padding in training, on the 2x2 maps of its crops" in printed
    # kept: a second call needs no checkpoint
    shutil.move(run.best, run.best.with_suffix(".away"))
    try:
        again, same = told(segbench, "aspp", context)
    finally:
        shutil.move(run.best.with_suffix(".away"), run.best)
    assert (again, same) == (printed, content)


def test_networks_that_are_not_at_hand_are_named(segbench: Segbench, context: Path, tmp_path: Path):
    study = Path(shutil.copytree(context, tmp_path / "moved"))
    (study / "a" / "probe.json").unlink(missing_ok=True)
    (study / "a" / "checkpoints" / "best.ckpt").unlink()
    printed, content = told(segbench, "aspp", study)
    assert "not measured: 1 of 1 runs of moved: no checkpoints here" in printed
    assert content["arms"][0]["zeroed"] is None
