"""Which W&B run a run folder is, and the names by which runs and what runs them know each other."""

import re
from dataclasses import dataclass

from segbench.errors import InputError
from segbench.files import write_atomic
from segbench.reading import read_text
from segbench.runs import RunFolder

ARTIFACT_OF_RUN, ARTIFACT_OF_TEST_SET = "segbench-run", "segbench-test-set"
"""Types of the artifacts that a run logs and ``segbench pull`` fetches."""

SWEEP = "WANDB_SWEEP_ID"
"""Set by W&B's agent: the run is one of a sweep."""

STUDY = "SEGBENCH_STUDY"
"""Where the runs of that sweep go; by default runs/<sweep>."""

VARIES = "SEGBENCH_VARIES"
"""The keys that name a run of it; an agent started by hand cannot tell them from constants."""


@dataclass(frozen=True)
class Logged:
    """A run at W&B; ``entity`` is empty where it was logged offline and none was named."""

    entity: str
    project: str
    identity: str


def logged_as(run: RunFolder) -> Logged | None:
    """The W&B run that a run folder was logged to; None for one that never was.

    Raises:
        InputError: what it remembers of it is damaged.
    """
    path = run.path / "wandb" / "run_path"
    if not path.exists():
        return None
    anew = "remove it, and the run counts as new"
    names = read_text(path, anew).strip().split("/")
    if len(names) not in (2, 3) or not all(re.fullmatch(r"[\w. -]+", name) for name in names):
        raise InputError(f"{path}: not ENTITY/PROJECT/ID; {anew}")
    *entity, project, identity = names
    return Logged(entity[0] if entity else "", project, identity)


def remember_run(run: RunFolder, path: str) -> None:
    """Keep ``[ENTITY/]PROJECT/ID`` in the run folder."""
    (run.path / "wandb").mkdir(exist_ok=True)
    write_atomic(run.path / "wandb" / "run_path", path)
