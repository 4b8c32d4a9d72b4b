"""The data set on disk: images, masks, groups and splits."""

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segbench.data.classes import SegmentationClass, read_classes
from segbench.errors import InputError
from segbench.pictures import UNREADABLE, imread
from segbench.reading import read_text
from segbench.wording import CONTROLS, printable

SPLITS = ("train", "val", "test")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
COLOR_MODES = ("P", "RGB", "RGBA")
"""Pillow's modes of masks that show classes as colours."""
VAL_SHARE = 0.2
"""Share of the images that become validation where a data set brings none."""


@dataclass(frozen=True)
class Pair:
    """An image and its mask. Images of one group (flight, scene, tile) are not independent."""

    image: Path
    mask: Path
    group: str

    @property
    def name(self) -> str:
        return self.image.stem


@dataclass(frozen=True)
class DataSet:
    """The three splits and the classes; checkpoints are chosen on val, test is read once."""

    root: Path
    classes: tuple[SegmentationClass, ...]
    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    test: tuple[Pair, ...]

    @cached_property
    def digests(self) -> dict[Pair, bytes]:
        """A hash of each pair's name, group, image and mask."""
        pairs = [*self.train, *self.val, *self.test]
        with ThreadPoolExecutor() as pool:
            return dict(zip(pairs, pool.map(_digest_of_pair, pairs), strict=True))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every image, mask, group and class, whatever the split or the folder."""
        everything = repr(self.classes).encode() + b"".join(sorted(self.digests.values()))
        return hashlib.blake2b(everything, digest_size=16).hexdigest()


def read_data_set(root: Path, folds: int | None = None, fold: int = 0) -> DataSet:
    """The data set in ``root``.

    Layout: ``train|val|test/image/*.jpg|png`` and ``.../mask/<same stem>.png`` (uint8 class ids,
    255 = ignore), ``classes.json``, and optionally ``groups.csv`` (columns image, group; the
    image's stem). Without ``val`` a validation set is held out of train by group. The order of
    the pairs is that of their names, on every machine.

    Args:
        root: the folder.
        folds: make this many test folds by group out of all images, in place of the splits on
            disk; validation is held out of the rest.
        fold: which of them is the test set, 0..folds-1.

    Raises:
        InputError: a folder, file or pair that is missing, a group in two splits, a fold that
            cannot be.
    """
    classes = tuple(classes_at(root))
    groups = read_groups(root / "groups.csv")
    listed = [list_pairs(root, split, groups) for split in SPLITS]
    _refuse(line for _, problems in listed for line in problems)
    train, val, test = (pairs for pairs, _ in listed)
    if not train:
        raise InputError(f"{root / 'train' / 'image'}: no images (*.jpg, *.png) to train on")
    for split in (train, val, test) if folds is None else (train + val + test,):
        _refuse(repeated_names(split))
    if folds is not None:
        train, val, test = _split_fold(train + val + test, folds, fold)
    elif not val:
        train, val = hold_out(train, VAL_SHARE)
    if not test:
        raise InputError(
            f"{root / 'test' / 'image'}: no images to test on; a verdict needs a test set that "
            "training never saw (or set data.folds to test on every image in turn)"
        )
    if groups:
        _refuse(groups_across(train, val, test))
    return DataSet(root, classes, tuple(train), tuple(val), tuple(test))


def classes_at(root: Path) -> list[SegmentationClass]:
    """The classes of the data set that ``data.root`` names.

    Raises:
        InputError: there is no such folder, or its classes.json cannot be read.
    """
    if not root.is_dir():
        raise InputError(
            f"data.root: {root} is not a folder; give your data set with --data.root, or make "
            f"synthetic scenes with: segbench data generate --out {root}"
        )
    return read_classes(root / "classes.json")


def read_image(path: Path) -> NDArray[np.uint8]:
    """RGB [H, W, 3], 0..255, the pixels as stored; grey images become three equal channels."""
    # masks know nothing of a camera's rotation tag, so it is not applied to images either
    image = imread(path, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise InputError(f"{path}: not readable as an image; replace or remove it and its mask")
    return np.asarray(image, dtype=np.uint8)


def image_size(pair: Pair) -> tuple[int, int]:
    """Width and height in pixels, from the header."""
    try:
        with Image.open(pair.image) as image:
            return image.size
    except UNREADABLE as error:
        raise InputError(f"{pair.image}: not readable as an image ({error})") from None


class ColorMaskError(InputError):
    """A mask whose pixels are colours and not class ids."""


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Class ids [H, W], 255 = ignore.

    Raises:
        ColorMaskError: an RGB or palette mask.
        InputError: not readable, or of another mode than 8-bit grey.
    """
    try:
        with Image.open(path) as mask:
            if mask.mode != "L":
                kind = ColorMaskError if mask.mode in COLOR_MODES else InputError
                raise kind(
                    f"{path}: a mask of mode {mask.mode}; masks must be single-channel 8-bit PNGs "
                    "of class ids (mode L)"
                )
            return np.asarray(mask)
    except UNREADABLE as error:
        raise InputError(f"{path}: not readable as a mask ({error})") from None


def class_pixels(pairs: Iterable[Pair], num_classes: int) -> NDArray[np.int64]:
    """Labelled pixels of each class [K] in the masks of ``pairs``."""

    def count(pair: Pair) -> NDArray[np.int64]:
        return np.bincount(read_mask(pair.mask).ravel(), minlength=256)[:num_classes]

    with ThreadPoolExecutor() as pool:
        return sum(pool.map(count, pairs), np.zeros(num_classes, dtype=np.int64))


def hold_out(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Split whole groups off: the rest, and about ``share`` of the pairs.

    The choice depends on the groups' names alone. Both sides get at least one group.
    """
    members = _by_group(pairs)
    if len(members) < 2:
        raise InputError(
            f"all {len(pairs)} training images belong to one group, so that no validation set can "
            "be held out; add a val folder or more groups"
        )
    order = sorted(members, key=lambda group: hashlib.blake2b(group.encode()).digest())
    held: set[str] = set()
    size, target = 0, share * len(pairs)
    for group in order[:-1]:
        if abs(size + len(members[group]) - target) < abs(size - target):
            held.add(group)
            size += len(members[group])
    held = held or {min(order, key=lambda group: len(members[group]))}
    return [p for p in pairs if p.group not in held], [p for p in pairs if p.group in held]


def _split_fold(
    pairs: Sequence[Pair], folds: int, fold: int
) -> tuple[list[Pair], list[Pair], list[Pair]]:
    members = _by_group(pairs)
    if not 2 <= folds <= len(members):
        raise InputError(
            f"data.folds: {folds} folds of {len(members)} groups cannot be; "
            f"give 2 to {len(members)}, or more groups in groups.csv"
        )
    if not 0 <= fold < folds:
        raise InputError(f"data.fold: {fold} of {folds} folds; give 0 to {folds - 1}")
    tested: list[set[str]] = [set() for _ in range(folds)]
    sizes = [0] * folds
    # the largest groups first, each into the smallest fold
    for group in sorted(members, key=lambda g: (-len(members[g]), g)):
        smallest = sizes.index(min(sizes))
        tested[smallest].add(group)
        sizes[smallest] += len(members[group])
    train, val = hold_out([p for p in pairs if p.group not in tested[fold]], VAL_SHARE)
    return train, val, [p for p in pairs if p.group in tested[fold]]


def _by_group(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    members: dict[str, list[Pair]] = {}
    for pair in pairs:
        members.setdefault(pair.group, []).append(pair)
    return members


def read_groups(path: Path) -> dict[str, str]:
    """The group of each image by its stem; empty without the file."""
    if not path.exists():
        return {}
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    groups: dict[str, str] = {}
    try:
        if not {"image", "group"} <= set(reader.fieldnames or ()):
            raise InputError(f"{path}: needs the columns image,group; has {reader.fieldnames}")
        for row in reader:
            image, group = row["image"], row["group"]
            if not image or not group:
                raise InputError(f"{path}: line {reader.line_num} lacks an image or its group")
            if CONTROLS.search(group):
                raise InputError(f"{path}: line {reader.line_num} has control characters: {group}")
            if groups.setdefault(image, group) != group:
                raise InputError(
                    f"{path}: line {reader.line_num} puts {image} into {group}, an earlier one "
                    f"into {groups[image]}; keep one of them"
                )
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: not readable as CSV ({error})") from None
    return groups


def list_pairs(root: Path, split: str, groups: dict[str, str]) -> tuple[list[Pair], list[str]]:
    """The pairs in ``root/split``, and a line for each file without a partner or a group.

    An empty ``split`` means ``root/image`` and ``root/mask``.
    """
    folder = root / split
    images = sorted(
        path
        for path in (folder / "image").glob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    masks = sorted((folder / "mask").glob("*"))
    stems = {image.stem for image in images}
    problems = [
        f"{mask}: has no image in {folder / 'image'}; add it or remove the mask"
        for mask in masks
        if mask.suffix == ".png" and mask.stem not in stems and not mask.name.startswith(".")
    ]
    others = {path.stem: path for path in masks}
    pairs = []
    for image in images:
        if CONTROLS.search(image.name):
            shown = printable(str(image))
            problems.append(f"{shown}: its name is no plain text (UTF-8, no escapes); rename it")
            continue
        mask = folder / "mask" / f"{image.stem}.png"
        if not mask.exists():
            other = others.get(image.stem)
            remedy = f"write {other.name} as .png" if other else "add it"
            problems.append(f"{image}: has no mask {mask}; {remedy}, or remove the image")
            continue
        if groups and image.stem not in groups:
            problems.append(f"{root / 'groups.csv'}: names no group for the image {image.stem}")
        pairs.append(Pair(image, mask, groups.get(image.stem, image.stem)))
    return pairs, problems


def repeated_names(pairs: Iterable[Pair]) -> list[str]:
    """A line for each image whose name another one has."""
    seen: dict[str, Path] = {}
    problems = []
    for pair in pairs:
        first = seen.setdefault(pair.name, pair.image)
        if first is not pair.image:
            problems.append(f"{pair.image}: has the name of {first}; rename one")
    return problems


def groups_across(*splits: Sequence[Pair]) -> list[str]:
    """A line for each group and each further split that it is in."""
    owner: dict[str, int] = {}
    problems: dict[str, None] = {}
    for number, pairs in enumerate(splits):
        for pair in pairs:
            if owner.setdefault(pair.group, number) != number:
                problems[
                    f"groups.csv: group {pair.group} is in {SPLITS[owner[pair.group]]} and in "
                    f"{SPLITS[number]}; keep a group in one split"
                ] = None
    return list(problems)


def _refuse(problems: Iterable[str]) -> None:
    for problem in problems:
        raise InputError(problem)


def _digest_of_pair(pair: Pair) -> bytes:
    parts = [f"{pair.name}\0{pair.group}".encode(), pair.image.read_bytes(), pair.mask.read_bytes()]
    digests = [hashlib.blake2b(part, digest_size=16).digest() for part in parts]
    return b"".join(digests)
