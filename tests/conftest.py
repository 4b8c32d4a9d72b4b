"""What the tests share: a small data set, and segbench's own door."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch  # noqa: F401 - once, before a test gives the processes that it starts one thread
from hypothesis import settings

from segbench import cli

settings.register_profile("same", derandomize=True)  # a failure is of the change that shows it
settings.load_profile("same")
settings.register_profile("long", max_examples=2_000, derandomize=False)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing that other runs remembered, and nothing left behind for them."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Heard, by the processes of the tests too, even where a shell runs them in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic scenes, 8 classes: 6 train, 2 val, 3 test, 96 px."""
    from segbench.data.synthetic import generate

    root = tmp_path_factory.mktemp("data") / "scenes"
    generate(root, train=6, val=2, test=3, size=96, seed=0)
    return root


@pytest.fixture
def segbench(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs ``segbench ARGS`` in this process, in an empty folder; gives what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGBENCH_RUN_DIR", raising=False)

    def run(*args: object) -> str:
        monkeypatch.setattr(sys, "argv", ["segbench", *map(str, args)])
        try:
            cli.main()
        finally:
            os.environ.pop("SEGBENCH_RUN_DIR", None)
        return capsys.readouterr().out

    return run


@pytest.fixture
def refusal(segbench: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs ``segbench ARGS`` that must be refused; gives its one line."""

    def run(*args: object) -> str:
        with pytest.raises(SystemExit) as stop:
            segbench(*args)
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``segbench ARGS`` as a process of its own, in an empty folder."""

    def run(*args: object, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "segbench", *map(str, args)],
            cwd=tmp_path,
            env=os.environ | env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
