"""What is measured of a run beside its training, by whoever has its data and its network.

``segbench augmentation`` and ``segbench aspp`` write it into the run folder as probe.json, so that
analysis needs neither.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segbench.reading import reading
from segbench.runs import AGAIN, RunFolder

Counts = NDArray[np.int64]

SOUND = 1e-4  # share of pixels up to which rounding is no damage


@dataclass(frozen=True)
class PolicyAudit:
    """What an augmentation policy does to training crops; shares are of pixels, 0..1.

    "Before" is the plain crop around the same place of the same image.

    Args:
        draws: crops that were looked at.
        scale: at which crops show objects, 1 being that of evaluation: the median, and the range
            of the middle 90 %.
        image_changed: pixels that differ from the plain crop's by more than rounding.
        mask_changed: labels that do.
        shares_before: of each class among the labelled pixels [K].
        shares_after: the same after it [K].
        ignore_before: ignored pixels.
        ignore_after: the same after it.
        new_ids: values in masks that were not in the image's own.
        wrong_labels: labels that are not those of the pixel which the image shows there.
        interpolated: pixels of a mask of two ids that became something in between.
        recoloured: crops whose mask was changed in value nearly everywhere, as an image is.
        border_is_class: pixels that a transform brought in from outside and that carry a class,
            among those it brought in.
        apart: crops whose mask moved otherwise than their image.
    """

    draws: int
    scale: tuple[float, float, float] | None
    image_changed: float
    mask_changed: float
    shares_before: list[float]
    shares_after: list[float]
    ignore_before: float
    ignore_after: float
    new_ids: list[float]
    wrong_labels: float
    interpolated: float
    recoloured: float
    border_is_class: float
    apart: float

    @property
    def no_op(self) -> bool:
        return self.image_changed == 0 and self.mask_changed == 0

    @property
    def damage(self) -> list[str]:
        """What is wrong with the labels, in words; nothing where they are sound."""
        found = []
        if self.recoloured > 0:
            found.append(f"masks are recoloured like images in {self.recoloured:.0%} of crops")
        elif self.interpolated > SOUND:
            found.append("masks are interpolated")
        if self.new_ids:
            found.append(f"ids appear that were not there: {', '.join(_ids(self.new_ids))}")
        if self.wrong_labels > SOUND:
            found.append(f"{self.wrong_labels:.1%} of the pixels carry a wrong label")
        if self.border_is_class > SOUND:
            found.append("the border that a transform brings in is labelled as a class")
        if self.apart > 0:
            found.append(f"image and mask move apart in {self.apart:.0%} of crops")
        return found

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CropScores:
    """Confusion counts [K, K] of a clean network on validation crops.

    Args:
        crops: how many.
        plain: as they are.
        moved: the same images through other policies, by name and strength.
    """

    crops: int
    plain: Counts
    moved: dict[tuple[str, float], Counts]


@dataclass(frozen=True)
class WithoutIdleTaps:
    """A network's test with the taps of ASPP set to zero that training left as drawn.

    Args:
        counts: confusion counts of each test image [K, K], by its name.
        energy: of each dilated branch, the share that those taps would have brought in.
    """

    counts: dict[str, Counts]
    energy: list[float]


def policy_of(run: RunFolder) -> PolicyAudit | None:
    """What was seen of a run's policy, or None; the other two likewise.

    Raises:
        InputError: probe.json holds something else.
    """
    with reading(run.probe, AGAIN):
        found = run.read_probe().get("policy")
        return None if found is None else policy_audit(found)


def policy_audit(content: Mapping[str, Any]) -> PolicyAudit:
    """Back from JSON."""
    scale = content["scale"]
    return PolicyAudit(**{**content, "scale": None if scale is None else tuple(scale)})


def crop_scores_of(run: RunFolder) -> CropScores | None:
    with reading(run.probe, AGAIN):
        if (found := run.read_probe().get("affinity")) is None:
            return None
        moved = {
            (row["augmentation"], row["strength"]): np.array(row["counts"], np.int64)
            for row in found["policies"]
        }
        return CropScores(int(found["crops"]), np.array(found["plain"], np.int64), moved)


def without_idle_taps_of(run: RunFolder) -> WithoutIdleTaps | None:
    with reading(run.probe, AGAIN):
        if (found := run.read_probe().get("taps")) is None:
            return None
        pairs = zip(found["images"], found["counts"], strict=True)
        counts = {name: np.array(one, np.int64) for name, one in pairs}
        return WithoutIdleTaps(counts, list(map(float, found["energy"])))


def _ids(values: list[float]) -> list[str]:
    shown = [f"{value:g}" for value in values[:8]]
    return [*shown, "..."] if len(values) > 8 else shown
