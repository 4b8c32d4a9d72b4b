"""A study as a chapter of a page: what is there, and of what is not, why."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from segbench.analysis.anatomy import look_into
from segbench.analysis.aspp import pyramids_of
from segbench.analysis.compare import means_of
from segbench.analysis.pixels import tasks_of
from segbench.analysis.questions import Rules, completed_look, rules_of
from segbench.analysis.recipes import recipes_of
from segbench.analysis.study import StudyArm, StudyRuns, read_study
from segbench.errors import InputError
from segbench.report.errors import BOUNDARY, best_arm
from segbench.report.figures.style import swatch
from segbench.report.page import sections
from segbench.report.page.content import Chapter, Missing, Section
from segbench.report.page.pictures import gallery
from segbench.report.page.provenance import provenance_section
from segbench.runs import RunFolder, find_runs
from segbench.study.plan import read_plan
from segbench.wording import counted

GALLERY_ARMS = 4  # whose predictions it shows: the one looked into and the best of the others


@dataclass(frozen=True)
class Asked:
    """What a page shall hold: of the arm ``arm`` (the best one), by ``workers`` processes."""

    arm: str | None
    workers: int


def chapter(folders: Sequence[Path], name: str, asked: Asked) -> Chapter:
    """All that is known of a study.

    Args:
        folders: where it lies.
        name: for links; unique on the page.
        asked: what to look into.

    Raises:
        InputError: there is neither a plan nor a run, or no arm of the name that is asked for.
    """
    plans = [read_plan(folder) for folder in folders if (folder / "study.yaml").exists()]
    runs = [run for folder in folders for run in _runs(folder, planned=bool(plans))]
    title = plans[0].content["name"] if plans else folders[0].resolve().name
    last = provenance_section(folders, plans[0] if plans else None, runs)
    try:
        study = read_study(folders)
    except InputError as error:
        return Chapter(name, title, [], [last], [f"No verdicts, curves or errors yet: {error}"])
    if asked.arm is not None:
        best_arm(study, asked.arm)
    arms = [(arm.name, swatch(number)) for number, arm in enumerate(study.arms)]
    found = [*_sections(name, study, asked), last]
    return Chapter(name, title, arms, found, _notes(study))


def _runs(folder: Path, planned: bool) -> list[RunFolder]:
    try:
        return find_runs(folder)
    except InputError:
        if planned:
            return []
        raise


def _notes(study: StudyRuns) -> list[str]:
    if study.plan is None:
        return ["Runs without a plan: every verdict is post hoc."]
    cells = study.plan.cells
    tested = sum(len(seed.runs) for arm in study.arms for seed in arm.seeds)
    if tested < len(cells):
        planned = counted(len(cells), "planned run")
        return [f"{tested} of {planned} are finished: this is what they say so far."]
    return []


def _sections(name: str, study: StudyRuns, asked: Asked) -> Iterator[Section]:
    with_verdicts = partial(_of_look, name, study)
    yield _kept("verdicts", "Verdicts", partial(with_verdicts, sections.verdict_section))
    yield _kept("curves", "Learning curves", partial(sections.curve_section, name, study))
    yield _kept("cost", "Cost", partial(sections.cost_section, name, study))
    yield _kept("errors", "What it gets wrong", partial(_errors, name, study, asked))
    if _concerns(recipes_of, study):
        make = partial(with_verdicts, sections.augmentation_section)
        yield _kept("augmentation", "Why augmentation helps or hurts", make)
    if _concerns(pyramids_of, study):
        make = partial(with_verdicts, sections.aspp_section)
        yield _kept("aspp", "Could ASPP help?", make)


def _kept(name: str, title: str, make: Callable[[], Section]) -> Section:
    """A section, or why it is not there: one that fails takes no other with it."""
    try:
        return make()
    except InputError as error:
        return Section(name, title, [Missing(f"Not here: {error}")])


def _of_look(
    name: str, study: StudyRuns, make: Callable[[str, StudyRuns, Rules], Section]
) -> Section:
    """A section with verdicts: of the last look that is complete.

    Raises:
        InputError: none is yet.
    """
    complete = completed_look(study)
    if complete is None:
        raise InputError(
            "no look is complete: verdicts are given when every arm has the seeds that the plan "
            f"declared ({', '.join(map(str, rules_of(study, {}).looks))} per arm), not in between"
        )
    return make(name, complete, rules_of(complete, {}))


def _concerns(part_of: Callable[[StudyRuns], object], study: StudyRuns) -> bool:
    try:
        part_of(study)
    except InputError:
        return False
    return True


def _errors(name: str, study: StudyRuns, asked: Asked) -> Section:
    arm = best_arm(study, asked.arm)
    tasks = tasks_of(study, arm, study.arms)
    found = look_into(study, arm, tasks, BOUNDARY, asked.workers)
    others = sorted((one for one in study.arms if one is not arm and len(one.counts())), key=_score)
    shown = {arm.name: tasks} | {
        other.name: tasks_of(study, other) for other in others[-(GALLERY_ARMS - 1) :][::-1]
    }
    crops = gallery(f"{name}-gallery", study, shown, found.flows, BOUNDARY, asked.workers)
    return sections.error_section(name, found, crops)


def _score(arm: StudyArm) -> float:
    return means_of(arm)["mean_iou"]
