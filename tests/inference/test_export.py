"""``segbench export``: the model is the network, or it is not written."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from segbench import metrics
from segbench.inference import export
from segbench.inference.onnx import onnx_session, to_onnx
from segbench.models import build_model
from segbench.runs import RunFolder

Segbench = Callable[..., str]


@pytest.fixture(scope="module")
def exported(
    networks: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunFolder, Path, str]:
    """A run, the folder of its model, and what the command said."""
    out = tmp_path_factory.mktemp("exported")
    said = subprocess.run(
        [sys.executable, "-m", "segbench", "export", networks / "a", "--out", out],
        capture_output=True,
        text=True,
        check=True,
        cwd=networks.parent,
    )
    return RunFolder(networks / "a"), out, said.stdout


def test_the_model_scores_as_the_run_did(exported: tuple[RunFolder, Path, str]):
    run, out, said = exported
    tested = run.read_counts()
    score = metrics.mean_iou(tested.counts.sum(0))
    assert f"test mean IoU {score:.4f}, the checkpoint's {score:.4f} (3 images)" in said
    session = onnxruntime.InferenceSession(out / "model.onnx")
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.type, logits.type) == ("tensor(uint8)", "tensor(float)")
    assert [isinstance(side, str) for side in images.shape] == [True, False, True, True]
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    assert classes == json.loads((out / "classes.json").read_text())
    assert [one["name"] for one in classes] == tested.classes
    assert all(len(one["color"]) == 3 for one in classes)


def test_the_example_needs_onnx_runtime_alone(
    exported: tuple[RunFolder, Path, str], scenes: Path, tmp_path: Path
):
    run, out, _ = exported
    path = sorted((scenes / "test" / "image").iterdir())[0]
    result = tmp_path / "ids.png"
    said = subprocess.run(
        [sys.executable, out / "example.py", path, result],
        *(),
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert "torch" not in (out / "example.py").read_text()
    stored = np.asarray(Image.open(run.test / "predictions" / f"{path.stem}.png"))
    with Image.open(result) as found:
        assert (np.asarray(found) == stored).mean() > 0.9999
        assert found.getpalette()[:3] == json.loads((out / "classes.json").read_text())[0]["color"]
    share = (stored == 7).mean()
    assert f"Grass: {share:.1%}" in said.stdout


def test_batch_and_size_are_free():
    torch.manual_seed(0)
    network = build_model("deeplab", 5, backbone="resnet18", width=16).eval()
    session = onnx_session(to_onnx(network))
    for shape in ((1, 3, 40, 56), (3, 3, 33, 50), (2, 3, 100, 31)):
        images = torch.randint(0, 256, shape, dtype=torch.uint8)
        with torch.inference_mode():
            expected = network(images).numpy()
        (found,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_model_that_is_not_the_network_is_not_written(
    segbench: Segbench,
    networks: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
):
    def another(network: nn.Module, metadata: object) -> bytes:
        changed = build_model("unet", 8, width=8).eval()
        changed.load_state_dict(network.state_dict())
        with torch.no_grad():
            next(p for p in changed.parameters() if p.ndim == 4).mul_(1.01)
        return to_onnx(changed)

    monkeypatch.setattr(export, "to_onnx", another)
    with pytest.raises(SystemExit) as stop:
        segbench("export", networks / "a", "--out", "out")
    assert stop.value.code == 1
    assert "not exported: the model is not the network" in capsys.readouterr().err
    assert not Path("out").exists()


def test_what_cannot_be_exported_is_refused(
    refusal: Segbench, segbench: Segbench, networks: Path, scenes: Path, tmp_path: Path
):
    run = Path(shutil.copytree(networks / "a", tmp_path / "moved"))
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(str(scenes), "gone"))
    assert "data.root gone is not here" in refusal("export", run, "--out", "o")
    other = Path(shutil.copytree(scenes, tmp_path / "other"))
    next((other / "test" / "image").iterdir()).touch()
    for path in (other / "train" / "mask").iterdir():
        Image.fromarray(np.zeros((96, 96), np.uint8)).save(path)
    line = refusal("export", run, "--out", "o", "--data", other)
    assert "is not the data set of" in line
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "model.onnx").touch()
    assert "holds a model already" in refusal("export", run, "--out", "o")
