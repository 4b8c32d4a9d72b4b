"""``segbench data prepare colormap``: masks that show classes as colours become class ids."""

import shutil
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segbench.arguments import Arguments
from segbench.data.classes import IGNORE, SegmentationClass, read_classes
from segbench.data.dataset import (
    COLOR_MODES,
    SPLITS,
    Pair,
    list_pairs,
    read_groups,
    repeated_names,
)
from segbench.errors import InputError
from segbench.files import link_or_copy, new_folder
from segbench.parallel import in_threads
from segbench.pictures import UNREADABLE
from segbench.wording import counted

Color = tuple[int, int, int]
MODES = (*COLOR_MODES, "L", "1")
"""Pillow's modes of masks that are read as colours; grey is a colour of three equal parts."""


class Job(NamedTuple):
    """A pair and the split it lies in, "" where there are no splits."""

    split: str
    pair: Pair


def main(argv: list[str]) -> None:
    """Make a data set of class ids from one whose masks are RGB or palette pictures.

    The images of the new data set are hard links to the old ones where the disk allows them.
    """
    parser = Arguments("segbench data prepare colormap", main.__doc__)
    parser.add_argument("root", type=Path, metavar="SRC", help="a data set, or image/ and mask/")
    parser.add_argument(
        "--colors",
        type=Path,
        required=True,
        metavar="FILE",
        help="classes.json: id, name and color [red, green, blue] of each class",
    )
    parser.add_argument("--out", type=Path, required=True, help="the data set to make")
    parser.add_argument(
        "--unknown",
        choices=("refuse", "ignore"),
        default="refuse",
        help="what to do with colours of no class: stop, or make the pixels ignore (refuse)",
    )
    options = parser.parse_args(argv)
    unknown = convert(options.root, options.colors, options.out, options.unknown == "ignore")
    if unknown:
        color, most = unknown.most_common(1)[0]
        print(
            f"{unknown.total():,} px of {counted(len(unknown), 'unknown colour')} are ignore now "
            f"(most often {color}: {most:,} px)"
        )
    print(f"{options.out}: look it over with: segbench data check {options.out}")


def convert(root: Path, colors: Path, out: Path, ignore_unknown: bool) -> Counter[Color]:
    """Write the data set ``out``.

    Returns:
        The pixels of each colour that no class has.

    Raises:
        InputError: no pairs, a mask that is no such picture, two classes of one colour, a colour
            of no class unless those are ignored, or ``out`` is in use.
    """
    classes = read_classes(colors)
    table = _table(classes, colors)
    jobs = _pairs(root)
    with new_folder(out) as folder:
        for split in {job.split for job in jobs}:
            for kind in ("image", "mask"):
                (folder / split / kind).mkdir(parents=True)
        work = partial(_convert, folder, table)
        unknown: Counter[Color] = Counter()
        for job, found in zip(jobs, in_threads(work, jobs, len(jobs), "converting"), strict=True):
            if found and not ignore_unknown:
                raise InputError(_complaint(job.pair.mask, found, colors))
            unknown += found
        shutil.copyfile(colors, folder / "classes.json")
        if (root / "groups.csv").exists():
            shutil.copyfile(root / "groups.csv", folder / "groups.csv")
    return unknown


def _table(classes: Sequence[SegmentationClass], path: Path) -> NDArray[np.uint8]:
    """The id of each of 2^24 colours, IGNORE for those of no class."""
    owner: dict[Color, str] = {}
    table = np.full(2**24, IGNORE, np.uint8)
    for one in classes:
        if one.color in owner:
            raise InputError(
                f"{path}: {owner[one.color]} and {one.name} share the color {list(one.color)}; "
                "masks cannot tell them apart, give each its own"
            )
        owner[one.color] = one.name
        red, green, blue = one.color
        table[red << 16 | green << 8 | blue] = one.id
    return table


def _pairs(root: Path) -> list[Job]:
    groups = read_groups(root / "groups.csv")
    jobs: list[Job] = []
    for split in ("", *SPLITS):
        pairs, problems = list_pairs(root, split, groups)
        for problem in [*problems, *repeated_names(pairs)]:
            raise InputError(problem)
        jobs += [Job(split, pair) for pair in pairs]
    if not jobs:
        raise InputError(f"{root}: no images (*.jpg, *.png) in image/ or train|val|test/image/")
    return jobs


def _convert(folder: Path, table: NDArray[np.uint8], job: Job) -> Counter[Color]:
    codes = _codes(job.pair.mask)
    ids = table[codes]
    link_or_copy(job.pair.image, folder / job.split / "image" / job.pair.image.name)
    target = folder / job.split / "mask" / job.pair.mask.name
    target.write_bytes(cv2.imencode(".png", ids)[1].tobytes())
    values, pixels = np.unique(codes[ids == IGNORE], return_counts=True)
    found = zip(values.tolist(), pixels.tolist(), strict=True)
    return Counter({(code >> 16, code >> 8 & 255, code & 255): count for code, count in found})


def _codes(path: Path) -> NDArray[np.uint32]:
    """The colour of each pixel [H, W] as one number: red, green, blue, 8 bits each."""
    try:
        with Image.open(path) as mask:
            if mask.mode not in MODES:
                raise InputError(
                    f"{path}: a mask of mode {mask.mode}; expected RGB, palette or 8-bit grey"
                )
            red, green, blue, _ = np.moveaxis(np.asarray(mask.convert("RGBA"), np.uint32), 2, 0)
    except UNREADABLE as error:
        raise InputError(f"{path}: not readable as a mask ({error})") from None
    return np.asarray(red << 16 | green << 8 | blue, np.uint32)


def _complaint(mask: Path, unknown: Counter[Color], colors: Path) -> str:
    (color, pixels), *others = unknown.most_common()
    more = f" and {counted(len(others), 'other colour')}" if others else ""
    return (
        f"{mask}: {pixels} px of the colour {color}{more}, which no class of {colors} has; add the "
        "class, or make such pixels ignore with --unknown ignore"
    )
