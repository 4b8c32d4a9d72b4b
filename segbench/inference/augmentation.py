"""``segbench augmentation STUDY``: why augmentation helps or hurts."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segbench.analysis.augmentation import explain
from segbench.analysis.diagnosis import diagnose
from segbench.analysis.questions import rules_of
from segbench.analysis.recipes import Recipe, Recipes, recipes_of
from segbench.analysis.study import read_study
from segbench.arguments import PICTURE, Arguments, positive, tables_console
from segbench.data.audit import Policy, audit_policy
from segbench.data.contact_sheet import overlay_sheet, write_sheet
from segbench.data.dataset import DataSet, read_image, read_mask
from segbench.errors import InputError
from segbench.files import as_json, write_atomic
from segbench.inference.at_hand import add_probing_arguments, data_set_of, holds, settings_of
from segbench.parallel import watched
from segbench.report import augmentation as report
from segbench.runs import RunFolder
from segbench.wording import counted

CROPS = 64
SHEET_CROPS = 6  # of each arm


def main(argv: list[str]) -> None:
    """Say why augmentation helps or hurts: what is lost where, by which part, and the cause.

    From the run folders: clean training, validation and test scores, and the effect of each part.
    Where the data set and checkpoints are at hand also what the policies do to sizes and labels,
    and to a network that was trained without them; that is kept in each run's probe.json.
    """
    options = _options(argv)
    study = read_study(options.study)
    recipes = recipes_of(study)
    data: DataSet | str = "not looked for"
    if options.measure or options.sheet:
        data = data_set_of(recipes.of[0].arm.first_run, options.data)
    if options.sheet and isinstance(data, str):
        raise InputError(f"--sheet: {data}")
    notes = [data] if options.measure and isinstance(data, str) else []
    if options.measure and not isinstance(data, str):
        _audit(recipes, data, options.crops)
        notes += _probe(recipes, data, options.crops, options.device)
    found = explain(study, rules_of(study, {}))
    diagnoses = diagnose(found)
    console = tables_console()
    for note in [*study.notes, *(f"not measured: {note}" for note in notes)]:
        console.print(f"warning: {note}", style="yellow", markup=False)
    for line in report.diagnosis_lines(study, diagnoses):
        console.print(line, markup=False)
    for table in report.tables(study, found):
        console.print(table)
    if options.json:
        write_atomic(options.json, as_json(report.as_json(found, diagnoses)))
    if not isinstance(data, str):
        sheets = [study.folders[0] / report.SHEET] if options.measure else []
        _write_sheet([*sheets, *([options.sheet] if options.sheet else [])], recipes, data)


def _policy(recipe: Recipe) -> Policy:
    """An arm's own policy."""
    from segbench.data.augment import POLICIES, CropPolicy  # albumentations brings torch

    run = recipe.arm.first_run
    if recipe.augmentation not in POLICIES:
        raise InputError(
            f"{run.config}: data.augmentation {recipe.augmentation} is no policy of this segbench; "
            "take the version that trained it, or give --no-measure"
        )
    crop_size = run.read_config()["data"]["crop_size"]
    return CropPolicy(recipe.augmentation, recipe.strength, crop_size)  # type: ignore[arg-type]


def _audit(recipes: Recipes, data: DataSet, crops: int) -> None:
    """Look at every arm's policy, and keep what was seen in its runs."""
    for one in recipes.of:
        found = audit_policy(_policy(one), data.train, len(data.classes), crops, name=one.name)
        for run in (run for seed in one.arm.seeds for run in seed.runs):
            run.write_probe({"policy": found.as_json()})


def _probe(recipes: Recipes, data: DataSet, crops: int, device: str) -> Iterator[str]:
    """Score clean networks on augmented validation crops; what could not be, in words."""
    bases = {base.name: base for one in recipes.of if (base := recipes.baseline(one))}
    clean = [base for base in bases.values() if base.clean]
    if not clean:
        yield "affinity, for no arm was trained without augmentation"
    for base in clean:
        policies = [one for one in recipes.augmented() if recipes.baseline(one) is base]
        asked = sorted({(one.augmentation, one.strength) for one in policies})
        settings = {
            seed.runs[0]: settings_of(seed.runs[0], crops=crops, asked=list(map(list, asked)))
            for seed in base.arm.seeds
            if not seed.diverged
        }
        missing = {
            run: needed
            for run, needed in settings.items()
            if not holds(run.read_probe().get("affinity"), needed)
        }
        here = {run: needed for run, needed in missing.items() if run.best.is_file()}
        if len(here) < len(missing):
            number = f"{len(missing) - len(here)} of {counted(len(settings), 'seed')}"
            yield f"affinity for {number} of {base.name}: no checkpoints here"
        if here:
            _probe_networks(here, (base, *policies), data, crops, device)


def _probe_networks(
    runs: Mapping[RunFolder, Mapping[str, Any]],
    recipes: Sequence[Recipe],
    data: DataSet,
    crops: int,
    device: str,
) -> None:
    """Score networks on crops of their own policy, the first, and of the others.

    Beside each run stands what its probe depends on.
    """
    from segbench.inference.load import device_called, load_network
    from segbench.inference.probe import counts_of_crops, draw_crops

    drawn = [(one, draw_crops(_policy(one), data.val, crops)) for one in recipes]
    for run, settings in watched(runs.items(), len(runs), f"networks of {recipes[0].name}"):
        network = load_network(run, device_called(device)).network
        plain, *moved = (counts_of_crops(network, crops, len(data.classes)) for _, crops in drawn)
        rows = [
            {"augmentation": one.augmentation, "strength": one.strength, "counts": found.tolist()}
            for (one, _), found in zip(drawn[1:], moved, strict=True)
        ]
        run.write_probe({"affinity": {**settings, "plain": plain.tolist(), "policies": rows}})


def _write_sheet(paths: Sequence[Path], recipes: Recipes, data: DataSet) -> None:
    """The same images through each arm's policy."""
    places = np.linspace(0, len(data.train) - 1, min(SHEET_CROPS, len(data.train))).round()
    rows = {}
    for one in recipes.of:
        policy = _policy(one)
        rows[one.name] = [
            policy(read_image(pair.image), read_mask(pair.mask), np.random.default_rng(number))
            for number, pair in enumerate(data.train[int(place)] for place in places)
        ]
    sheet = overlay_sheet(rows, data.classes)
    for path in paths:
        write_sheet(path, sheet)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("segbench augmentation", main.__doc__)
    add_probing_arguments(parser)
    parser.add_argument(
        "--crops", type=positive, default=CROPS, help=f"to look at, of each policy ({CROPS})"
    )
    parser.add_argument(
        "--sheet", type=PICTURE, metavar="FILE", help="crops of each arm with labels: .png, .jpg"
    )
    return parser.parse_args(argv)
