"""Nobody is called who was not asked for: the main commands where there is no network at all."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

WATCHER = """
import os, socket, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if arguments[0].family == socket.AF_UNIX:
            return
    elif event not in ("socket.getaddrinfo", "socket.gethostbyname"):
        return
    with open(os.environ["CONTACTS"], "a") as contacts:
        print(event, arguments, sys.argv, file=contacts)
    raise OSError("there is no network here")

sys.addaudithook(watch)
"""
"""Imported by every Python that starts, those in child processes too."""

SWEEP = {
    "method": "grid",
    "parameters": {
        "data.augmentation": {"values": ["none", "full"]},
        "seed_everything": {"values": [0]},
    },
    "command": ["${env}", "segbench", "fit", "--config", "tiny.yaml", "--config", "${args_json}"],
}
TINY = {
    "model": {"width": 8, "lr": 0.01},
    "data": {"root": "scenes", "crop_size": 48, "samples_per_epoch": 64, "batch_size": 4},
    "trainer": {"max_epochs": 3},
}
"""As short as learns something: there is nothing to explain in networks that did not."""


def without_a_route() -> list[str]:
    """What starts a command in a network namespace of its own, nothing where that is forbidden.

    It holds what is not Python too; the watcher stands for it elsewhere.
    """
    for words in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if shutil.which(words[0]) and not subprocess.run([*words, "true"], check=False).returncode:
            return words
    return []


@pytest.fixture
def offline(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a Python with arguments, without a network, a home or a key."""
    (tmp_path / "watcher").mkdir()
    (tmp_path / "watcher" / "sitecustomize.py").write_text(WATCHER)
    paths = [str(tmp_path / "watcher"), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    more = {"HOME": str(tmp_path), "CONTACTS": str(tmp_path / "contacts.txt")}
    env = kept | more | {"PYTHONPATH": os.pathsep.join(paths)}
    prefix = without_a_route()

    def run(*args: object) -> subprocess.CompletedProcess[str]:
        command = [*prefix, sys.executable, *map(str, args)]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    return run


def test_the_watcher_sees(offline: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path):
    code = "import urllib.request as u; u.urlopen('http://127.0.0.1:9')"
    done = offline(
        "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    )
    assert "there is no network here" in done.stderr
    assert "127.0.0.1" in (tmp_path / "contacts.txt").read_text()


@pytest.mark.slow
def test_the_main_commands_call_nobody(
    offline: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    (tmp_path / "aug.yaml").write_text(yaml.safe_dump(SWEEP, sort_keys=False))
    scenes = "data generate --out scenes --train 4 --val 2 --test 3 --size 64"
    for words in (
        scenes,
        "data check scenes",
        "fit --config tiny.yaml",
        "sweep aug.yaml --data.root scenes",
        "compare runs/aug",
        "errors runs/aug",
        "augmentation runs/aug",
        "benchmark runs/aug --rounds 1 --batch 1 --runtimes eager",
        "report runs/aug --out page.html",
    ):
        done = offline("-m", "segbench", *words.split())
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert (tmp_path / "page.html").is_file()
    assert not (tmp_path / "contacts.txt").exists(), (tmp_path / "contacts.txt").read_text()
