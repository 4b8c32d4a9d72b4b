"""How the arms of a study augment, which of them belong together, and what that asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from segbench.analysis.configs import config_of, rest_of
from segbench.analysis.questions import Question
from segbench.analysis.study import StudyArm, StudyRuns
from segbench.errors import InputError

Kind = Literal["baseline", "leaving out", "strength", "budget"]

OF_A_RECIPE = (
    *("data.augmentation", "data.augmentation_strength"),
    *("data.samples_per_epoch", "trainer.max_epochs"),
)
OWN_CROP = ("scale_homework",)
"""Policies that strength 0 does not turn off."""

MINUS = "_minus_"
"""Between a policy's name and the part that it is left without."""


@dataclass(frozen=True)
class Recipe:
    """One arm's augmentation.

    Args:
        arm: who has it.
        number: its place among the arms of the study.
        augmentation: the policy.
        strength: of it.
        steps: of the optimiser in a whole run; None where no run came to its end.
        rest: everything else of its configuration, as one text.
    """

    arm: StudyArm
    number: int
    augmentation: str
    strength: float
    steps: int | None
    rest: str

    @property
    def name(self) -> str:
        return self.arm.name

    @property
    def clean(self) -> bool:
        """Whether it trains on plain crops."""
        off = self.strength == 0 and self.augmentation not in OWN_CROP
        return self.augmentation == "none" or off


@dataclass(frozen=True)
class Asked:
    """A question about augmentation.

    Args:
        kind: against the baseline; a policy without one of its parts against all of it; a policy
            at another strength; the gap to the baseline with more steps against that with fewer.
        recipe: the arm it is about.
        what: the part that is left out, the strength, or how many times the steps.
        question: for the judge.
    """

    kind: Kind
    recipe: Recipe
    what: str
    question: Question


@dataclass(frozen=True)
class Recipes:
    """The arms of a study as recipes, each with the arm that it is held against, if any."""

    of: tuple[Recipe, ...]
    baselines: tuple[Recipe | None, ...]

    def baseline(self, recipe: Recipe) -> Recipe | None:
        return self.baselines[recipe.number]

    def augmented(self) -> list[Recipe]:
        """Those that have a baseline."""
        return [one for one in self.of if self.baseline(one) is not None]


def recipes_of(study: StudyRuns) -> Recipes:
    """How each arm augments, by the configurations of its runs.

    An arm's baseline differs from it in augmentation and steps alone: the one without any
    augmentation, with as many steps where there is one; without such an arm, the first.

    Raises:
        InputError: no arm differs from another in its augmentation alone.
    """
    found = tuple(_recipe(number, arm) for number, arm in enumerate(study.arms))
    baselines = tuple(_baseline(one, found) for one in found)
    if not any(baselines):
        policies = ", ".join(dict.fromkeys(one.augmentation for one in found))
        raise InputError(
            f"{study.folders[0]}: no two arms differ in data.augmentation (or its strength) alone "
            f"({policies}); run a study that varies it, such as sweeps/aug.yaml"
        )
    return Recipes(found, baselines)


def _recipe(number: int, arm: StudyArm) -> Recipe:
    config = config_of(arm.first_run)
    steps = [
        record.get("steps")
        for seed in arm.seeds
        for record in seed.records
        if record["status"] == "finished"
    ]
    return Recipe(
        arm,
        number,
        str(config.get("data.augmentation", "none")),
        float(config.get("data.augmentation_strength", 1.0)),
        steps[0] if steps else None,
        rest_of(config, OF_A_RECIPE),
    )


def _baseline(recipe: Recipe, recipes: Sequence[Recipe]) -> Recipe | None:
    if recipe.clean:
        return None
    alike = [one for one in recipes if one.rest == recipe.rest]
    clean = [one for one in alike if one.clean]
    if not clean:
        first = alike[0]
        same = (first.augmentation, first.strength) == (recipe.augmentation, recipe.strength)
        return None if same else first
    return min(
        clean,
        key=lambda one: (one.steps != recipe.steps, one.steps or 0, one.augmentation != "none"),
    )


def asked_of(recipes: Recipes) -> list[Asked]:
    """Each policy against its baseline, without each of its parts, at other strengths, for longer.

    One part alone against the baseline is what adding it in does.
    """
    found = []
    for one in recipes.of:
        base = recipes.baseline(one)
        if base is not None:
            found.append(_against(recipes, "baseline", one, base, one.augmentation))
        whole, _, part = one.augmentation.partition(MINUS)
        fuller = _like(recipes, one, augmentation=whole) if part else None
        if fuller is not None:
            found.append(_against(recipes, "leaving out", one, fuller, part))
    for one in recipes.augmented():
        usual = _usual_strength(recipes, one)
        if usual is not one:
            found.append(_against(recipes, "strength", one, usual, f"{one.strength:g}"))
        shortest = _shortest(recipes, one)
        if one.steps and shortest.steps and one.steps > shortest.steps:
            times = f"{one.steps / shortest.steps:.2g} x the steps"
            weights = dict.fromkeys((one.number, shortest.number), 0.0)
            for recipe, sign in ((one, 1.0), (shortest, -1.0)):
                weights[recipe.number] += sign
                base = recipes.baseline(recipe)
                assert base is not None
                weights[base.number] = weights.get(base.number, 0.0) - sign
            found.append(Asked("budget", one, times, _question(recipes, shortest, one, weights)))
    return found


def _against(recipes: Recipes, kind: Kind, one: Recipe, base: Recipe, what: str) -> Asked:
    return Asked(
        kind, one, what, _question(recipes, base, one, {base.number: -1.0, one.number: 1.0})
    )


def _question(
    recipes: Recipes, base: Recipe, one: Recipe, weights: Mapping[int, float]
) -> Question:
    every = tuple(float(weights.get(i, 0.0)) for i in range(len(recipes.of)))
    return Question("data.augmentation", base.name, one.name, every)


def _like(recipes: Recipes, recipe: Recipe, augmentation: str) -> Recipe | None:
    same = (recipe.strength, recipe.steps, recipe.rest)
    return next(
        (
            one
            for one in recipes.of
            if one.augmentation == augmentation and (one.strength, one.steps, one.rest) == same
        ),
        None,
    )


def _usual_strength(recipes: Recipes, recipe: Recipe) -> Recipe:
    """The same policy at strength 1, or else at its highest."""
    same = (recipe.augmentation, recipe.steps, recipe.rest)
    others = [one for one in recipes.augmented() if (one.augmentation, one.steps, one.rest) == same]
    return max(others, key=lambda one: (one.strength == 1, one.strength))


def _shortest(recipes: Recipes, recipe: Recipe) -> Recipe:
    same = (recipe.augmentation, recipe.strength, recipe.rest)
    others = [
        one for one in recipes.augmented() if (one.augmentation, one.strength, one.rest) == same
    ]
    return min(others, key=lambda one: one.steps or 0)
