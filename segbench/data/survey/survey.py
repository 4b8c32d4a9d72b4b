"""What a data set holds, and all that is wrong or odd in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segbench.data.classes import SegmentationClass, read_classes
from segbench.data.dataset import (
    SPLITS,
    Pair,
    groups_across,
    list_pairs,
    read_groups,
    repeated_names,
)
from segbench.data.survey import findings
from segbench.data.survey.findings import Finding
from segbench.data.survey.looks import Look, SplitSummary, look_at, summary_of
from segbench.errors import InputError
from segbench.parallel import in_threads


@dataclass(frozen=True)
class Survey:
    """The splits that have images, what is wrong (problems) and what to know (remarks)."""

    root: Path
    classes: tuple[SegmentationClass, ...]
    looks: Sequence[Look]
    splits: Mapping[str, SplitSummary]
    problems: Sequence[Finding]
    remarks: Sequence[Finding]

    def as_json(self) -> dict[str, Any]:
        return {
            "root": str(self.root),
            "fine": not self.problems,
            "splits": {split: self._split(summary) for split, summary in self.splits.items()},
            "problems": [self._finding(found) for found in self.problems],
            "remarks": [self._finding(found) for found in self.remarks],
        }

    def _split(self, summary: SplitSummary) -> dict[str, Any]:
        per_class = zip(self.classes, summary.pixels.tolist(), summary.images.tolist(), strict=True)
        return {
            "pairs": summary.pairs,
            "unread": summary.unread,
            "groups": summary.groups,
            "sizes": {f"{w}x{h}": n for (w, h), n in sorted(summary.sizes.items())},
            "ignored_pixels": summary.ignored,
            "classes": {
                one.name: {"pixels": pixels, "images": images} for one, pixels, images in per_class
            },
        }

    def _finding(self, found: Finding) -> dict[str, Any]:
        files = [path.relative_to(self.root).as_posix() for path in found.files]
        return {"text": found.line, "files": files}


def survey(root: Path, near: int) -> Survey:
    """Look at every file of a data set.

    Args:
        root: the data set's folder.
        near: differing bits, of BITS, up to which two images are near duplicates.

    Raises:
        InputError: no data set, or a classes.json or groups.csv that cannot be read. All else
            that is wrong becomes a problem of the survey.
    """
    if not root.is_dir():
        raise InputError(f"{root}: not a folder; name the data set's")
    classes = tuple(read_classes(root / "classes.json"))
    groups = read_groups(root / "groups.csv")
    problems: list[Finding] = []
    pairs: dict[str, list[Pair]] = {}
    for split in SPLITS:
        pairs[split], lines = list_pairs(root, split, groups)
        problems += map(Finding, [*lines, *repeated_names(pairs[split])])
    if not any(pairs.values()) and not problems:
        raise InputError(_no_pairs(root))
    jobs = [(split, pair) for split in SPLITS for pair in pairs[split]]
    looks = list(in_threads(lambda job: look_at(*job, len(classes)), jobs, len(jobs), "looking"))
    splits = {
        split: summary_of([look for look in looks if look.split == split], len(classes))
        for split in SPLITS
        if pairs[split]
    }
    across, within = findings.duplicates(looks, near)
    problems += findings.unread(root, looks)
    problems += findings.lacking_splits(root, pairs)
    problems += map(Finding, groups_across(*pairs.values()) if groups else ())
    problems += across
    problems += findings.missing_classes(classes, splits)
    remarks = [
        *findings.held_out(pairs),
        *findings.odd_files(root, pairs, groups),
        *findings.odd_pixels(looks),
        *within,
        *findings.rare_classes(classes, splits),
        *findings.few_groups(splits, bool(groups)),
    ]
    return Survey(root, classes, looks, splits, problems, remarks)


def _no_pairs(root: Path) -> str:
    if (root / "image").is_dir():
        return f"{root}: its images are in no split; first: {findings.split_command(root)}"
    return f"{root}: no images (*.jpg, *.png) in train|val|test/image"
