"""``segbench aspp STUDY``: could ASPP help, and did it?"""

import argparse

from segbench.analysis.aspp import audit, maps_in_evaluation, pyramids_of
from segbench.analysis.questions import rules_of
from segbench.analysis.study import StudyArm, StudyRuns, read_study
from segbench.arguments import Arguments, tables_console
from segbench.data.dataset import DataSet
from segbench.files import as_json, write_atomic
from segbench.inference.at_hand import add_probing_arguments, data_set_of, holds, settings_of
from segbench.parallel import watched
from segbench.report import aspp as report
from segbench.runs import RunFolder
from segbench.taps import Pyramid, idle, map_side, mean_seeing


def main(argv: list[str]) -> None:
    """Say whether ASPP could help: what its taps saw in training and see in evaluation.

    A tap that saw padding only was never trained. Where such taps see the test images, and the
    data set and checkpoints are at hand, the networks are scored with those taps set to zero; that
    is kept in each run's probe.json. Then ASPP against none, and against as many weights without
    its context.
    """
    options = _options(argv)
    study = read_study(options.study)
    pyramids = pyramids_of(study)
    notes = _measure(study, pyramids, options) if options.measure else []
    found = audit(study, rules_of(study, {}))
    console = tables_console()
    for note in [*study.notes, *(f"not measured: {note}" for note in notes)]:
        console.print(f"warning: {note}", style="yellow", markup=False)
    for line in report.lines(found):
        console.print(line, markup=False)
    console.print(report.branch_table(found))
    if found.comparisons:
        console.print(report.verdict_table(found))
    if options.json:
        write_atomic(options.json, as_json(report.as_json(found)))


def _measure(
    study: StudyRuns, pyramids: list[Pyramid | None], options: argparse.Namespace
) -> list[str]:
    """Score what has idle taps without them; what could not be, in words."""
    notes: dict[str, None] = {}
    for arm, pyramid in zip(study.arms, pyramids, strict=True):
        if pyramid is None or not _idle(study, arm, pyramid):
            continue
        runs = [run for seed in arm.seeds if not seed.diverged for run in seed.runs]
        missing = [run for run in runs if not holds(run.read_probe().get("taps"), settings_of(run))]
        here = [run for run in missing if run.best.is_file()]
        if len(here) < len(missing):
            number = len(missing) - len(here)
            notes[f"{number} of {len(runs)} runs of {arm.name}: no checkpoints here"] = None
        for run in watched(here, len(here), f"{arm.name} without idle taps"):
            data = data_set_of(run, options.data)
            if isinstance(data, str):
                notes[data] = None
                break
            _score(run, data, options.device)
    return list(notes)


def _idle(study: StudyRuns, arm: StudyArm, pyramid: Pyramid) -> bool:
    side = map_side(arm.first_run.read_config()["data"]["crop_size"], pyramid.stride)
    maps = maps_in_evaluation(study, arm, pyramid.stride)
    return any(
        (idle(side, side, rate) & (mean_seeing(maps, rate) > 0)).any() for rate in pyramid.rates
    )


def _score(run: RunFolder, data: DataSet, device: str) -> None:
    from segbench.inference.load import device_called, load_network
    from segbench.inference.probe import branches_of, without_idle_taps

    loaded = load_network(run, device_called(device))
    config = run.read_config()["data"]
    branches = branches_of(loaded.network, config["crop_size"])
    found = without_idle_taps(
        loaded.network, branches, data.test, len(loaded.classes), config.get("eval_tile")
    )
    run.write_probe({"taps": {**settings_of(run), **found}})


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("segbench aspp", main.__doc__)
    add_probing_arguments(parser)
    return parser.parse_args(argv)
