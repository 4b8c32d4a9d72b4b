"""The notebooks as git holds them: stripped, and code that only calls."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
STRIP = "strip it: .venv/bin/nbstripout notebooks/*.ipynb"
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def python(cell: dict[str, Any]) -> str:
    """The cell without IPython's magics; nothing of one that is another language throughout."""
    lines = "".join(cell["source"]).splitlines()
    if lines[0].startswith("%%"):
        magic, *words = lines[0].split()
        assert magic in ("%%bash", "%%writefile")
        assert not any(word.endswith(".py") for word in words)
        return ""
    return "\n".join(line for line in lines if not line.lstrip().startswith(("!", "%")))


def test_there_is_one_for_each_step():
    assert [path.stem for path in NOTEBOOKS] == [
        "01_data",
        "02_train_one",
        "03_read_a_study",
        "04_your_own_data",
    ]


@each
def test_git_holds_no_outputs(path: Path):
    for cell in code_cells(path):
        assert (cell["outputs"], cell["execution_count"]) == ([], None), STRIP


@each
def test_it_defines_nothing(path: Path):
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(python(cell))):
            assert not isinstance(node, DEFINITIONS), f"{ast.unparse(node)}: belongs into segbench"
