"""``segbench data split DIR --out DIR2``: train, val and test by group, classes spread evenly.

Of many seeded draws of whole groups the one is taken that leaves the fewest classes out of a split
and, of those, comes closest to the wanted shares of the images and of each class's pixels. With few
groups that tries nearly all there are; with many, any draw is close.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segbench.arguments import Arguments
from segbench.data.classes import SegmentationClass, read_classes
from segbench.data.dataset import (
    SPLITS,
    Pair,
    list_pairs,
    read_groups,
    read_mask,
    repeated_names,
)
from segbench.errors import InputError
from segbench.files import link_or_copy, new_folder
from segbench.parallel import in_threads
from segbench.wording import counted

DRAWS = 1000


def main(argv: list[str]) -> None:
    """Share the images of a folder out to train, val and test, whole groups at a time.

    The folder holds image/, mask/, classes.json and perhaps groups.csv, or the same with train/
    around image/ and mask/. Its classes are spread as evenly as 1000 draws of groups allow. The
    files of the new data set are hard links to the old ones where the disk allows them.
    """
    parser = Arguments("segbench data split", main.__doc__)
    parser.add_argument("root", type=Path, metavar="DIR", help="the folder of images and masks")
    parser.add_argument("--out", type=Path, required=True, help="the data set to make")
    parser.add_argument("--val", type=float, default=0.15, help="share of the images (0.15)")
    parser.add_argument("--test", type=float, default=0.2, help="share of the images (0.2)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same splits (0)")
    parser.add_argument("--copy", action="store_true", help="copy the files, link none")
    options = parser.parse_args(argv)
    shares = {"train": 1 - options.val - options.test, "val": options.val, "test": options.test}
    if not (options.val >= 0 and options.test > 0 and shares["train"] > 0 and options.seed >= 0):
        raise InputError(
            f"--val {options.val} --test {options.test} --seed {options.seed}: give a share of "
            "test above 0, shares that leave some of 1 to train, and a seed from 0 on"
        )
    split(options.root, options.out, shares, options.seed, options.copy)


def split(root: Path, out: Path, shares: dict[str, float], seed: int, copy: bool) -> None:
    """Write the data set ``out`` and say how the classes came to lie.

    Raises:
        InputError: ``root`` has no pairs or is split already, it has fewer groups than splits, a
            file that cannot be read, or ``out`` is in use.
    """
    classes = read_classes(root / "classes.json")
    pairs = _unsplit_pairs(root)
    with new_folder(out) as folder:  # refuses before the masks are read
        counts = in_threads(lambda pair: _pixels(pair, len(classes)), pairs, len(pairs), "reading")
        pixels = np.array(list(counts))
        parts = assign([pair.group for pair in pairs], pixels, shares, seed)
        for part, pair in zip(parts, pairs, strict=True):
            for kind, path in (("image", pair.image), ("mask", pair.mask)):
                (folder / part / kind).mkdir(parents=True, exist_ok=True)
                put = shutil.copyfile if copy else link_or_copy
                put(path, folder / part / kind / path.name)
        for name in ("classes.json", "groups.csv"):
            if (root / name).exists():
                shutil.copyfile(root / name, folder / name)
    _report(out, pairs, parts, pixels, classes)


def assign(
    groups: Sequence[str], pixels: NDArray[np.int64], shares: dict[str, float], seed: int
) -> list[str]:
    """The split of each image, the same for all images of a group.

    Args:
        groups: the group of each image.
        pixels: of each image and class [n, K].
        shares: of the images wanted in each split; a split that wants none gets none.
        seed: of the draws. The order of the groups' names counts, that of the images does not.
    """
    names = sorted(set(groups))
    wanted = {name: share for name, share in shares.items() if share > 0}
    if len(names) < len(wanted):
        raise InputError(
            f"{counted(len(names), 'group')} cannot be shared by {' and '.join(wanted)}; "
            "groups.csv needs one more at least for each split"
        )
    place = {name: k for k, name in enumerate(names)}
    number = np.array([place[group] for group in groups])
    # what each group holds of all images and of all pixels of each class: columns that sum to 1
    amounts = np.column_stack([np.ones(len(groups)), pixels[:, pixels.sum(0) > 0]])
    held = np.zeros((len(names), amounts.shape[1]))
    np.add.at(held, number, amounts / amounts.sum(0))
    target = np.array(list(wanted.values()))[:, None]
    rng = np.random.default_rng(seed)
    least, best = (np.inf, np.inf), np.zeros(len(names), int)
    for _ in range(DRAWS):
        part = _cut(rng.permutation(len(names)), held[:, 0], target[:, 0])
        got = np.stack([held[part == k].sum(0) for k in range(len(wanted))])
        miss = float((got == 0).sum()), float(((got - target) ** 2 / target).sum())
        if miss < least:
            least, best = miss, part
    labels = list(wanted)
    return [labels[best[k]] for k in number]


def _cut(
    order: NDArray[np.int64], sizes: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The part of each group: ``order`` cut where its sizes add up to about the targets."""
    filled = np.cumsum(sizes[order])
    part = np.empty(len(order), np.int64)
    begin = 0
    for k, goal in enumerate(np.cumsum(target)[:-1]):
        last = len(order) - (len(target) - 1 - k)  # the others need a group each
        end = begin + 1 + int(np.abs(filled[begin:last] - goal).argmin())
        part[order[begin:end]] = k
        begin = end
    part[order[begin:]] = len(target) - 1
    return part


def _unsplit_pairs(root: Path) -> list[Pair]:
    groups = read_groups(root / "groups.csv")
    found = {split: list_pairs(root, split, groups) for split in ("", *SPLITS)}
    problems = [line for _, lines in found.values() for line in lines]
    filled = [split for split, (pairs, _) in found.items() if pairs]
    if not filled and not problems:
        raise InputError(f"{root}: no images (*.jpg, *.png) in image/ or train/image/")
    if filled and filled not in ([""], ["train"]):
        places = ", ".join(str(Path(split, "image")) for split in filled)
        raise InputError(
            f"{root}: already has images in {places}; only what lies in image/ or train/ alone is "
            "split"
        )
    pairs = [pair for part, _ in found.values() for pair in part]
    for problem in [*problems, *repeated_names(pairs)]:
        raise InputError(problem)
    return pairs


def _pixels(pair: Pair, num_classes: int) -> NDArray[np.int64]:
    return np.bincount(read_mask(pair.mask).ravel(), minlength=256)[:num_classes]


def _report(
    out: Path,
    pairs: Sequence[Pair],
    parts: Sequence[str],
    pixels: NDArray[np.int64],
    classes: Sequence[SegmentationClass],
) -> None:
    names = [name for name in SPLITS if name in parts]
    inside = {name: np.array([part == name for part in parts]) for name in names}
    for name in names:
        groups = {pair.group for pair, part in zip(pairs, parts, strict=True) if part == name}
        images = counted(int(inside[name].sum()), "image")
        print(f"{name}: {images} in {counted(len(groups), 'group')}")
    print(f"of each class's pixels, % in {' / '.join(names)}:")
    for one in classes:
        total = pixels[:, one.id].sum()
        shares = [f"{100 * pixels[inside[n], one.id].sum() / total:.0f}" for n in names if total]
        print(f"  {one.name}: {' / '.join(shares) or 'has none'}")
    print(f"{out}: look it over with: segbench data check {out}")
