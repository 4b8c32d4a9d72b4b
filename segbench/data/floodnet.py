"""``segbench data prepare floodnet``: the official release, 8 classes, a quarter as wide and high.

FloodNet-Supervised_v1.0 (Rahnemoonfar et al., 2021): 1445, 450 and 448 images for train, val and
test. 1991 of them have 4000x3000 px and become 1000x750, the other 352 have 4592x3072 and become
1148x768: all by the same factor, so that none is squeezed.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segbench.arguments import Arguments
from segbench.claim import Claim
from segbench.data.archives import Source, open_source
from segbench.data.check import IMAGE_MODES
from segbench.data.classes import write_classes
from segbench.data.dataset import IMAGE_SUFFIXES, SPLITS
from segbench.data.synthetic.world import CLASSES
from segbench.errors import InputError
from segbench.files import write_atomic
from segbench.parallel import in_threads
from segbench.pictures import UNREADABLE
from segbench.wording import counted

OFFICIAL = (
    *("Background", "Building-flooded", "Building-non-flooded", "Road-flooded"),
    *("Road-non-flooded", "Water", "Tree", "Vehicle", "Pool", "Grass"),
)
MERGED = np.array(
    [[one.name for one in CLASSES].index(name.split("-")[0]) for name in OFFICIAL], np.uint8
)
"""Our id of each official one: flooded or not, a building is a building."""
SHRINK = 4
MOST_PIXELS = 2**26
"""Of an image: 67 million, five times the largest of the release."""
JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 95),
    # colour in full: a car is a few pixels now
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]
RECORD = "floodnet.json"

Masks = Literal["nearest", "majority"]
PLACE = re.compile(r"(?:.*/)?(train|val|test)-(org|label)-img/([^/]+)", re.IGNORECASE)


class Job(NamedTuple):
    """A file of the release and the file that it becomes."""

    name: str
    target: Path


def main(argv: list[str]) -> None:
    """Make a data set of 8 classes from the official FloodNet release.

    SRC is FloodNet-Supervised_v1.0 as a folder, a .zip, a .tar or a .tar.gz: somewhere in it lie
    train-org-img, train-label-img and the same for val and test. Images are reduced to a quarter
    of their width and height by averaging, masks by nearest neighbour. A second call goes on where
    the first was stopped.
    """
    parser = Arguments("segbench data prepare floodnet", main.__doc__)
    parser.add_argument("source", type=Path, metavar="SRC", help="the release")
    parser.add_argument("--out", type=Path, required=True, help="the data set to make")
    parser.add_argument(
        "--masks",
        choices=get_args(Masks),
        default="nearest",
        help="the class of a mask's pixel: of the 4x4 it stands for, the one near the middle "
        "(nearest), or the most frequent (majority; the lower id of equals)",
    )
    options = parser.parse_args(argv)
    try:
        prepare(options.source, options.out, options.masks)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        raise


def prepare(source: Path, out: Path, masks: Masks) -> None:
    """Write what is missing of the data set ``out``; classes.json comes last and says it is whole.

    Raises:
        InputError: no release, one whose files are not as they should be, or ``out`` is in use.
    """
    release = open_source(source)
    jobs = _jobs(release, out)
    with _begun(out, masks):
        missing = {job.name: job for job in jobs if not job.target.exists()}
        for folder in {job.target.parent for job in jobs}:
            folder.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(".*.part"):  # of a process that was killed
                leftover.unlink()
        contents = release.read(missing.keys())
        work = partial(_convert, source, masks)
        files = ((missing[name], content) for name, content in contents)
        for _ in in_threads(work, files, len(missing), "preparing"):
            pass
        sizes = _sizes(out, jobs)
        write_classes(out / "classes.json", CLASSES)
    done = counted(len(missing), "file")
    print(f"{out}: {done} written, {len(jobs) - len(missing)} were there already")
    for split, counts in sizes.items():
        pairs = ", ".join(f"{number} of {w}x{h} px" for (w, h), number in sorted(counts.items()))
        print(f"{split}: {counted(counts.total(), 'pair')}: {pairs}")
    print(f"{out}: look it over with: segbench data check {out}")


def _jobs(release: Source, out: Path) -> list[Job]:
    """What becomes what: every image and every mask on its own."""
    found: dict[tuple[str, str, str], str] = {}
    for name in release.names:
        place = PLACE.fullmatch(name)
        if place is None:
            continue
        split, kind, file = place[1].lower(), place[2].lower(), PurePosixPath(place[3])
        suffixes, ending = (IMAGE_SUFFIXES, "") if kind == "org" else ((".png",), "_lab")
        if file.suffix.lower() not in suffixes or file.name.startswith("."):
            continue  # what a Mac adds begins with a dot
        key = (split, kind, file.stem.removesuffix(ending))
        if key in found:
            raise InputError(
                f"{release.path}: {found[key]} and {name} are the same image; give one release"
            )
        found[key] = name
    if not found:
        raise InputError(
            f"{release.path}: holds no train-org-img and train-label-img with images; give "
            "FloodNet-Supervised_v1.0 as a folder, a .zip or a .tar"
        )
    for (split, kind, stem), name in found.items():
        other = "label" if kind == "org" else "org"
        if (split, other, stem) not in found:
            raise InputError(
                f"{release.path}: {name} has no partner in {split}-{other}-img; if the release "
                "came in several parts, unpack them into one folder and give that"
            )
    folders = {"org": ("image", ".jpg"), "label": ("mask", ".png")}
    return [
        Job(name, out / split / folders[kind][0] / f"{stem}{folders[kind][1]}")
        for (split, kind, stem), name in found.items()
    ]


def _begun(out: Path, masks: Masks) -> Claim:
    """The claim on ``out``, which is new, or was begun by the same command."""
    record = {"made from": "FloodNet-Supervised_v1.0", "shrink": SHRINK, "masks": masks}
    claim = Claim.on(out)
    if claim is None:
        raise InputError(f"{out}: another segbench is preparing it; wait, or name another folder")
    try:
        if not any(out.iterdir()):
            write_atomic(out / RECORD, json.dumps(record, indent=1) + "\n")
        elif not (out / RECORD).exists():
            raise InputError(f"{out}: already in use; name a new or empty folder")
        elif (before := _read_record(out / RECORD)) != record:
            raise InputError(
                f"{out}: was begun with --masks {before.get('masks')}; go on with that, or name "
                "another folder"
            )
    except BaseException:
        claim.release()
        raise
    return claim


def _read_record(path: Path) -> dict[str, object]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable ({error}); name another folder") from None
    return record if isinstance(record, dict) else {}


def _convert(source: Path, masks: Masks, file: tuple[Job, bytes]) -> None:
    (name, target), content = file
    where = source / name
    try:
        with Image.open(BytesIO(content)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise InputError(f"{where}: is {image.width}x{image.height} px; no FloodNet image")
            if target.suffix == ".jpg":
                encoded = _image(image, where)
            else:
                encoded = _mask(image, where, masks)
    except UNREADABLE as error:
        raise InputError(f"{where}: not readable as an image ({error}); get another copy") from None
    write_atomic(target, encoded)


def _image(image: Image.Image, where: Path) -> bytes:
    if image.mode not in IMAGE_MODES:
        raise InputError(f"{where}: an image of mode {image.mode}; expected 8-bit RGB")
    pixels = _whole_blocks(np.asarray(image.convert("RGB")), where)
    small = cv2.resize(pixels, _reduced(pixels), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, JPEG)[1])


def _mask(mask: Image.Image, where: Path, masks: Masks) -> bytes:
    if mask.mode != "L":
        raise InputError(f"{where}: a mask of mode {mask.mode}; expected 8-bit ids (mode L)")
    ids = np.asarray(mask)
    if ids.max() >= len(OFFICIAL):
        raise InputError(
            f"{where}: holds the id {ids.max()}; FloodNet's are 0..{len(OFFICIAL) - 1}"
        )
    ids = _whole_blocks(MERGED[ids], where)
    if masks == "nearest":
        middle = (SHRINK - 1) // 2
        small = ids[middle::SHRINK, middle::SHRINK]
    else:
        small = _majority(ids)
    return bytes(cv2.imencode(".png", np.ascontiguousarray(small))[1])


def _majority(ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The most frequent id of each block; the lower one of equals."""
    most = np.zeros((ids.shape[0] // SHRINK, ids.shape[1] // SHRINK), np.uint8)
    winner = np.zeros_like(most)
    for one in CLASSES:
        # the mean of a block is a whole number: 240 / 16 for each of its pixels
        here = (ids == one.id).astype(np.uint8) * 240
        votes = cv2.resize(here, _reduced(ids), interpolation=cv2.INTER_AREA)
        winner[votes > most] = one.id
        np.maximum(most, votes, out=most)
    return winner


def _whole_blocks(pixels: NDArray[np.uint8], where: Path) -> NDArray[np.uint8]:
    """Without the up to 3 px at the right and the bottom that fill no block."""
    height, width = (length // SHRINK * SHRINK for length in pixels.shape[:2])
    if not height or not width:
        raise InputError(f"{where}: is {pixels.shape[1]}x{pixels.shape[0]} px; no FloodNet image")
    return pixels[:height, :width]


def _reduced(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of what ``pixels`` become."""
    return pixels.shape[1] // SHRINK, pixels.shape[0] // SHRINK


def _sizes(out: Path, jobs: Sequence[Job]) -> dict[str, Counter[tuple[int, int]]]:
    """The pairs of each split by their size, from the headers of what was written."""
    sizes: dict[str, Counter[tuple[int, int]]] = {}
    for split, image, mask in _pairs(jobs):
        size, other = _size(image), _size(mask)
        if size != other:
            raise InputError(
                f"{image}: {size[0]}x{size[1]} px, but its mask has {other[0]}x{other[1]}; the "
                f"release's image and label differ in size: mend them there, delete both here"
            )
        sizes.setdefault(split, Counter())[size] += 1
    return {split: sizes[split] for split in SPLITS if split in sizes}


def _pairs(jobs: Sequence[Job]) -> Iterator[tuple[str, Path, Path]]:
    for _, target in jobs:
        if target.suffix == ".jpg":
            split = target.parent.parent
            yield split.name, target, split / "mask" / f"{target.stem}.png"


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size
