"""ImageNet weights: loaded where they are, refused at once where they are not."""

import socket
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import encoders, get_encoder

from segbench.models import build_model
from segbench.models.backbones import EncoderBackbone

Process = Callable[..., CompletedProcess[str]]


@pytest.mark.parametrize(
    ("architecture", "backbone"),
    [("deeplab", "resnet18"), ("unet", "mobilenet_v3_small"), ("segformer", "resnet18")],
)
def test_without_a_network_fit_stops_with_one_line(
    process: Process, scenes: Path, tmp_path: Path, architecture: str, backbone: str
):
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    done = process(
        *("fit", "--data.root", scenes, "--model.pretrained=true"),
        *("--model.architecture", architecture, "--model.backbone", backbone),
        HF_ENDPOINT=f"http://127.0.0.1:{port}",
        HF_HOME=str(tmp_path / "hf"),
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"segbench: model.pretrained: the ImageNet weights of {backbone}")
    assert not (tmp_path / "runs").exists()


def test_a_hub_that_never_answers_is_asked_once(process: Process, scenes: Path, tmp_path: Path):
    """Left alone, the hub's client asks it again and again for 397 s."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = process(
            *("fit", "--data.root", scenes, "--model.pretrained=true"),
            *("--model.architecture=deeplab", "--model.backbone=resnet18"),
            HF_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
            HF_HOME=str(tmp_path / "hf"),
        )
        assert done.returncode == 2
        assert "model.pretrained" in done.stderr
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_cached_weights_are_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    settings = encoders["resnet18"]["pretrained_settings"]["imagenet"]
    folder = tmp_path / f"models--{settings['repo_id'].replace('/', '--')}"
    snapshot = folder / "snapshots" / settings["revision"]
    snapshot.mkdir(parents=True)
    torch.manual_seed(1)
    stored = get_encoder("resnet18").state_dict()
    save_file(stored, snapshot / "model.safetensors")
    (snapshot / "config.json").write_text("{}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    torch.manual_seed(2)
    network = build_model("deeplab", 5, pretrained=True).network
    assert isinstance(network.backbone, EncoderBackbone)
    loaded = network.backbone.encoder.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in stored.items())


def test_the_plain_backbone_has_no_weights(refusal: Callable[..., str], scenes: Path):
    line = refusal("fit", "--data.root", scenes, "--model.pretrained=true")
    assert "model.pretrained: the plain backbone has no ImageNet weights" in line
