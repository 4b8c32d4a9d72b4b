"""Imports point one way, those inside of functions too; test_cli.py looks at what a command loads.

An arrow against the order is a module in the wrong place, or a package that knows too much.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import segbench

ROOT = Path(segbench.__file__).parent

ORDER = (
    *("errors", "wording", "arguments", "parallel"),
    *("files", "reading", "shapes", "claim", "online"),
    *("metrics", "pictures", "taps", "runs", "logged", "probes", "analysis.stats"),
    *("data", "overlays", "losses", "models", "task", "training"),
    *("study", "analysis", "report", "inference", "cli", "__main__"),
)
"""Each part imports itself and what stands before it."""

TORCH = ("torch", "torchmetrics", "torchvision", "segmentation_models_pytorch", "timm")
LIGHTNING = ("pytorch_lightning", "lightning", "lightning_fabric")
NEVER = {
    "analysis": (*TORCH, *LIGHTNING),
    "report": (*TORCH, *LIGHTNING),
    "study": (*TORCH, *LIGHTNING),
    "runs": (*TORCH, *LIGHTNING),
    "models": LIGHTNING,
}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{one.name}" for one in node.names)


def part_of(module: str) -> str | None:
    """The longest entry of ORDER that a module of segbench belongs to; None for a mere name."""
    name = module.removeprefix("segbench.") + "."
    return max((one for one in ORDER if name.startswith(f"{one}.")), key=len, default=None)


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if name != "__init__":
            yield name, path


def against_the_order() -> Iterator[str]:
    for name, path in modules():
        own = part_of(name)
        for imported in imports(path):
            other = part_of(imported) if imported.startswith("segbench.") else None
            if own and other and ORDER.index(other) > ORDER.index(own):
                yield f"{name} imports {imported}"


def test_arrows_point_one_way():
    assert list(against_the_order()) == []


def test_every_module_has_its_place():
    assert [name for name, _ in modules() if part_of(name) is None] == []


@pytest.mark.parametrize("part", NEVER)
def test_what_a_part_never_imports(part: str):
    found = [
        f"{name} imports {imported}"
        for name, path in modules()
        if part_of(name) == part
        for imported in imports(path)
        if imported.split(".")[0] in NEVER[part]
    ]
    assert found == []


def test_reports_are_made_without_torch():
    code = "import segbench.report.page.command, segbench.report.publish, segbench.report.compare"
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {*TORCH, *LIGHTNING}
