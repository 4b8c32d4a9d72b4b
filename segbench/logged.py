"""Which W&B run a run folder is: so it goes on, comes home and is published as the same."""

from dataclasses import dataclass

from segbench.files import reading, write_atomic
from segbench.runs import RunFolder


@dataclass(frozen=True)
class Logged:
    """A run at W&B; ``entity`` is empty where it was logged offline and none was named."""

    entity: str
    project: str
    identity: str


def logged_as(run: RunFolder) -> Logged | None:
    """The W&B run that a run folder was logged to; None for one that never was."""
    path = run.path / "wandb" / "run_path"
    if not path.exists():
        return None
    with reading(path, "remove it, and the run is logged anew"):
        *entity, project, identity = path.read_text(encoding="utf-8").split("/")
        return Logged(entity[0] if entity else "", project, identity)


def remember_run(run: RunFolder, path: str) -> None:
    """Keep ``[ENTITY/]PROJECT/ID`` in the run folder."""
    (run.path / "wandb").mkdir(exist_ok=True)
    write_atomic(run.path / "wandb" / "run_path", path)
