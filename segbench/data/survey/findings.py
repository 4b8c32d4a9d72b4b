"""The rules of the check: what is a problem, what is worth a remark."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segbench.data.classes import IGNORE, SegmentationClass
from segbench.data.dataset import (
    IMAGE_SUFFIXES,
    SPLITS,
    VAL_SHARE,
    ColorMaskError,
    Pair,
    hold_out,
)
from segbench.data.survey.duplicates import BITS, clusters, pairs_within
from segbench.data.survey.looks import Look, SplitSummary
from segbench.errors import InputError
from segbench.wording import counted, printable

RARE = 0.005
"""Share of the labelled training pixels below which a class is called rare."""
GROUPS_FOR_A_VERDICT = 6
GROUPS_FOR_A_CLASS = 3
"""Groups of test images below which `segbench compare` says less: see docs/STATISTICS.md."""


@dataclass(frozen=True)
class Finding:
    """One line, and the files it is about."""

    text: str
    files: tuple[Path, ...] = ()

    @property
    def line(self) -> str:
        """The text, also where a file's name holds a line break or a terminal's escapes."""
        return printable(" ".join(self.text.split("\n")))


def unread(root: Path, looks: Iterable[Look]) -> Iterator[Finding]:
    """A line for each pair that cannot be used, and one for all the masks in colour of a split."""
    in_color: dict[str, list[Path]] = {}
    for look in looks:
        if isinstance(look.error, ColorMaskError):
            in_color.setdefault(look.split, []).append(look.pair.mask)
        elif look.error is not None:
            yield Finding(str(look.error), (look.pair.image, look.pair.mask))
    command = (
        f"segbench data prepare colormap {shlex.quote(str(root))} --colors "
        f"{shlex.quote(str(root / 'classes.json'))} --out {_beside(root, 'ids')}"
    )
    for split, masks in in_color.items():
        yield Finding(
            f"{split}: {counted(len(masks), 'mask')} in RGB or palette colours where class ids are "
            f"needed (first: {masks[0]}); convert with: {command}",
            tuple(masks),
        )


def lacking_splits(root: Path, pairs: Mapping[str, Sequence[Pair]]) -> Iterator[Finding]:
    if not pairs["train"]:
        yield Finding(f"{root / 'train' / 'image'}: no images (*.jpg, *.png) to train on")
    elif not pairs["val"]:
        try:
            hold_out(pairs["train"], VAL_SHARE)
        except InputError as error:
            yield Finding(str(error))
    if not pairs["test"]:
        yield Finding(
            f"{root / 'test' / 'image'}: no images to test on; "
            + ("set data.folds" if pairs["val"] else f"make one with: {split_command(root)}")
        )


def duplicates(looks: Sequence[Look], near: int) -> tuple[list[Finding], list[Finding]]:
    """Those across splits, a line for each set; those within a split but not a group, counted.

    An image of a single colour is like any other of it, and no harm: it counts for neither.
    """
    looks = [look for look in looks if look.error is None and not look.one_color]
    first: dict[bytes, int] = {}
    exact = [(first.setdefault(look.digest, k), k) for k, look in enumerate(looks)]
    hashed = [k for k in first.values() if looks[k].hash is not None]
    hashes = np.array([looks[k].hash for k in hashed], np.uint64).reshape(-1, 4)
    bits = {(hashed[i], hashed[j]): int(b) for i, j, b in pairs_within(hashes, near)}
    across, within = [], []
    for members in clusters(len(looks), [*bits, *exact]):
        found = [looks[k] for k in members]
        if len({look.split for look in found}) > 1:
            across.append(Finding(_alike(looks, members, bits), _images(found)))
        elif len({look.pair.group for look in found}) > 1:
            within.append(found)
    remarks = []
    for split in SPLITS:
        sets = [found for found in within if found[0].split == split]
        if sets:
            remarks.append(
                Finding(
                    f"{split}: {counted(sum(map(len, sets)), 'image')} in "
                    f"{counted(len(sets), 'set')} of near duplicates (first: "
                    f"{_labels(sets[0])}) count as independent; give a set one group in groups.csv",
                    tuple(path for found in sets for path in _images(found)),
                )
            )
    return across, remarks


def _alike(
    looks: Sequence[Look], members: Sequence[int], bits: Mapping[tuple[int, int], int]
) -> str:
    digests: dict[bytes, set[str]] = {}
    for k in members:
        digests.setdefault(looks[k].digest, set()).add(looks[k].split)
    if len(digests) == 1:
        likeness = "the same pixels"
    else:
        inside = set(members)
        exact = any(len(splits) > 1 for splits in digests.values())
        differing = 0 if exact else min(bit for (i, _), bit in bits.items() if i in inside)
        likeness = f"near duplicates, {differing} of {BITS} bits differ"
    return (
        f"{_labels([looks[k] for k in members])}: {likeness}, in different splits; keep one, or "
        "put them into one split and one group of groups.csv"
    )


def _labels(looks: Sequence[Look]) -> str:
    shown = ", ".join(look.label for look in looks[:6])
    return shown + (f" and {len(looks) - 6} more" if len(looks) > 6 else "")


def _images(looks: Iterable[Look]) -> tuple[Path, ...]:
    return tuple(look.pair.image for look in looks)


def missing_classes(
    classes: Sequence[SegmentationClass], splits: Mapping[str, SplitSummary]
) -> Iterator[Finding]:
    """Of what could be read throughout: an unread mask may hold the class."""
    for split, summary in splits.items():
        for one in classes:
            owners = [other for other in splits if splits[other].pixels[one.id]]
            if owners and not summary.pixels[one.id] and not summary.unread:
                yield Finding(
                    f"{split}: no pixel of {one.name}, which {' and '.join(owners)} "
                    f"{'have' if len(owners) > 1 else 'has'}; move a group that shows it to {split}"
                )


def odd_files(
    root: Path, pairs: Mapping[str, Sequence[Pair]], groups: Mapping[str, str]
) -> Iterator[Finding]:
    for split in SPLITS:
        for kind, suffixes in (("image", IMAGE_SUFFIXES), ("mask", (".png",))):
            unread = [
                path
                for path in sorted((root / split / kind).glob("*"))
                if path.suffix.lower() not in suffixes and not path.name.startswith(".")
            ]
            if unread:
                yield Finding(
                    f"{root / split / kind}: {counted(len(unread), 'file')} other than "
                    f"{'|'.join(suffixes)} not read (first: {unread[0].name})",
                    tuple(unread),
                )
    unknown = sorted(groups.keys() - {pair.name for split in pairs.values() for pair in split})
    if unknown:
        yield Finding(
            f"groups.csv: {counted(len(unknown), 'image')} that the data set has not "
            f"(first: {unknown[0]})"
        )


def odd_pixels(looks: Iterable[Look]) -> Iterator[Finding]:
    looks = [look for look in looks if look.counts is not None]
    for text, found in (
        ("of a single colour", [look for look in looks if look.one_color]),
        (
            "whose mask is ignore throughout",
            [look for look in looks if look.counts is not None and not look.counts[:IGNORE].any()],
        ),
    ):
        if found:
            yield Finding(
                f"{counted(len(found), 'image')} {text} (first: {found[0].label})", _images(found)
            )


def rare_classes(
    classes: Sequence[SegmentationClass], splits: Mapping[str, SplitSummary]
) -> Iterator[Finding]:
    train, test = splits.get("train"), splits.get("test")
    for one in classes:
        if not any(summary.pixels[one.id] for summary in splits.values()):
            if not any(summary.unread for summary in splits.values()):
                yield Finding(f"{one.name}: no pixel anywhere; it will have no score")
            continue
        if train is not None and 0 < train.pixels[one.id] < RARE * train.pixels.sum():
            share = train.pixels[one.id] / train.pixels.sum()
            images = counted(int(train.images[one.id]), "image")
            yield Finding(f"{one.name}: rare, {share:.2%} of the pixels of train, in {images}")
        if test is not None and 0 < test.groups_with[one.id] < GROUPS_FOR_A_CLASS <= test.groups:
            groups = counted(int(test.groups_with[one.id]), "group")
            yield Finding(
                f"{one.name}: in {groups} of test; segbench compare gives no verdict on a class "
                f"below {GROUPS_FOR_A_CLASS}"
            )


def few_groups(splits: Mapping[str, SplitSummary], given: bool) -> Iterator[Finding]:
    if not given:
        yield Finding(
            "no groups.csv: every image counts as independent, which images of one flight, scene "
            "or tile are not"
        )
    test = splits.get("test")
    if test is not None and test.groups < GROUPS_FOR_A_VERDICT:
        yield Finding(
            f"test: {counted(test.groups, 'group')}; below {GROUPS_FOR_A_VERDICT} the verdicts of "
            "segbench compare hold for this test set only"
        )


def held_out(pairs: Mapping[str, Sequence[Pair]]) -> Iterator[Finding]:
    if pairs["train"] and not pairs["val"]:
        yield Finding(f"no val: {VAL_SHARE:.0%} of train will be held out, by group")


def split_command(root: Path) -> str:
    """The command that makes splits of a folder that has none."""
    return f"segbench data split {shlex.quote(str(root))} --out {_beside(root, 'split')}"


def _beside(root: Path, what: str) -> str:
    return shlex.quote(str(root.parent / f"{root.resolve().name}-{what}"))
