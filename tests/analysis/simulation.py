"""Studies of known truth: the simulation of benchmarks/coverage.py."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType


@cache
def simulator() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
