"""What an augmentation policy does to images and labels, found by pushing marked ones through it.

A policy is a black box here: nothing is read from its parameters. Each draw is repeated with the
same randomness on other pixels. A mask that holds coordinates says where every pixel of the crop
comes from; a pattern in both image and mask says whether labels stay labels, and stay in place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segbench.data.classes import IGNORE
from segbench.data.dataset import Pair, read_image, read_mask
from segbench.parallel import watched
from segbench.probes import PolicyAudit

Pixels = NDArray[np.uint8]
Policy = Callable[[Pixels, Pixels, np.random.Generator], tuple[Pixels, Pixels]]
"""Image [H, W, 3], mask [H, W] and randomness -> a crop of both, such as a CropPolicy."""

ROUNDING = 1  # grey levels that a change of colour space and back may cost
MARK = 200  # the id in the pattern's mask, far from 0
ALIGNED = 0.5  # correlation of image and mask of the pattern below which they moved apart
TRACKED = 2.0  # px of the image by which the coordinates may deviate from one affine map


@dataclass(frozen=True)
class Track:
    """Where a crop's pixels come from.

    Args:
        rows, columns: of the image, for each pixel of the crop; -1 where it is none of it.
        scale: crop pixels per image pixel, along a side.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    scale: float

    @property
    def inside(self) -> NDArray[np.bool_]:
        return np.asarray(self.rows >= 0)


def audit_policy(
    policy: Policy,
    pairs: Sequence[Pair],
    num_classes: int,
    draws: int,
    seed: int = 0,
    name: str = "policy",
) -> PolicyAudit:
    """Look at some crops of a policy.

    Args:
        policy: what is looked at.
        pairs: the images it draws from, in turn.
        num_classes: K.
        draws: how many crops.
        seed: of the draws.
        name: for whoever waits.
    """
    tally = _Tally(num_classes)
    for number in watched(range(draws), draws, f"crops of {name}"):
        pair = pairs[number % len(pairs)]
        tally.add(policy, read_image(pair.image), read_mask(pair.mask), [seed, number])
    return tally.result()


class _Tally:
    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.rows: list[dict[str, float]] = []
        self.scales: list[float] = []
        self.before = np.zeros(num_classes, np.int64)
        self.after = np.zeros(num_classes, np.int64)
        self.new_ids: set[float] = set()

    def add(self, policy: Policy, image: Pixels, mask: Pixels, seed: list[int]) -> None:
        def drawn(image: Pixels, mask: NDArray[np.generic]) -> tuple[Pixels, Pixels]:
            crop, labels = policy(image, mask, np.random.default_rng(seed))  # type: ignore[arg-type]
            return np.asarray(crop), np.asarray(labels)

        crop, labels = drawn(image, mask)
        self.new_ids |= set(np.unique(labels).tolist()) - set(np.unique(mask).tolist()) - {IGNORE}
        row = _pattern_row(*drawn(*_pattern(mask.shape)))
        track = _track(drawn(image, _coordinates(mask.shape))[1])
        row["ignore_after"] = float((labels == IGNORE).mean())
        if track is not None:
            self.scales.append(track.scale)
            top, left = _place(track, mask.shape)
            plain = _window(image, top, left, labels.shape, 0)
            truth = _window(mask, top, left, labels.shape, IGNORE)
            apart = np.abs(crop.astype(np.int16) - plain) > ROUNDING
            inside = track.inside
            expected = mask[track.rows[inside], track.columns[inside]]
            row |= {
                "image_changed": float(apart.any(-1).mean()),
                "mask_changed": float((labels != truth).mean()),
                "ignore_before": float((truth == IGNORE).mean()),
                "wrong_labels": float((labels[inside] != expected).sum() / labels.size),
                "outside": float((~inside).sum()),
                "outside_labelled": float((labels[~inside] != IGNORE).sum()),
            }
            self.before += self._pixels(truth)
            self.after += self._pixels(labels)
        self.rows.append(row)

    def _pixels(self, labels: Pixels) -> NDArray[np.int64]:
        known = labels[(labels >= 0) & (labels < self.num_classes)].astype(np.int64)
        return np.bincount(known, minlength=self.num_classes)

    def result(self) -> PolicyAudit:
        def mean(key: str) -> float:
            found = [row[key] for row in self.rows if key in row]
            return float(np.mean(found)) if found else 0.0

        outside = sum(row.get("outside", 0.0) for row in self.rows)
        labelled = sum(row.get("outside_labelled", 0.0) for row in self.rows)
        middle = np.quantile(self.scales, (0.5, 0.05, 0.95)).tolist() if self.scales else None
        return PolicyAudit(
            draws=len(self.rows),
            scale=tuple(middle) if middle else None,
            shares_before=(self.before / max(1, self.before.sum())).tolist(),
            shares_after=(self.after / max(1, self.after.sum())).tolist(),
            new_ids=sorted(self.new_ids),
            border_is_class=labelled / max(1.0, outside),
            **{key: mean(key) for key in _MEANS},
        )


_MEANS = (
    *("image_changed", "mask_changed", "ignore_before", "ignore_after", "wrong_labels"),
    *("interpolated", "recoloured", "apart"),
)


def _coordinates(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Row and column of each pixel, and a 1 that padding does not have [H, W, 3]."""
    rows, columns = np.indices(shape, np.float32)
    return np.stack([rows, columns, np.ones(shape, np.float32)], axis=-1)


def _track(drawn: NDArray[np.generic]) -> Track | None:
    """Where a crop comes from, by the coordinates it holds; None if they are spoilt."""
    places = np.asarray(drawn, np.float64)
    inside = np.abs(places[..., 2] - 1) < 1e-3
    at = np.argwhere(inside)
    if len(at) < 16:
        return None
    here = np.column_stack([at, np.ones(len(at))])
    source = places[inside][:, :2]
    thinned = slice(None, None, 1 + len(at) // 4096)
    affine = np.linalg.lstsq(here[thinned], source[thinned], rcond=None)[0]
    area = abs(np.linalg.det(affine[:2]))  # image pixels per pixel of the crop
    if area < 1e-9 or np.abs(here @ affine - source).max() > TRACKED * max(1.0, area**0.5):
        return None
    rows, columns = (np.full(inside.shape, -1, np.intp) for _ in range(2))
    rows[inside], columns[inside] = source.round().astype(np.intp).T
    return Track(rows, columns, float(area**-0.5))


def _place(track: Track, shape: tuple[int, ...]) -> tuple[int, int]:
    """Top and left of the plain crop around the same centre, inside of the image."""
    inside = track.inside
    at = np.argwhere(inside).mean(0)
    found = []
    sources = (track.rows[inside].mean(), track.columns[inside].mean())
    for source, here, side, size in zip(sources, at, shape, inside.shape, strict=True):
        room = side - size
        found.append(int(np.clip(round(source - here), min(0, room), max(0, room))))
    return found[0], found[1]


def _window(pixels: Pixels, top: int, left: int, size: tuple[int, ...], fill: int) -> Pixels:
    """The pixels of a window, filled where it reaches over the border."""
    window = np.full((*size[:2], *pixels.shape[2:]), fill, np.uint8)
    rows = slice(max(0, top), min(pixels.shape[0], top + size[0]))
    columns = slice(max(0, left), min(pixels.shape[1], left + size[1]))
    window[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = pixels[
        rows, columns
    ]
    return window


def _pattern(shape: tuple[int, ...]) -> tuple[Pixels, Pixels]:
    """Blocks at random, light and marked or dark and 0, the same in image and mask."""
    block = max(4, min(shape) // 16)
    cells = [-(-side // block) for side in shape]
    bits = np.random.default_rng(0).integers(0, 2, cells, dtype=np.uint8)
    blocks = np.kron(bits, np.ones((block, block), np.uint8))[: shape[0], : shape[1]]
    image = np.repeat((60 + 120 * blocks)[..., None], 3, axis=2).astype(np.uint8)
    return image, blocks * np.uint8(MARK)


def _pattern_row(image: Pixels, mask: Pixels) -> dict[str, float]:
    known = np.isin(mask, (0, MARK, IGNORE))
    recoloured = (~known).mean() > 0.5 * (mask != IGNORE).mean()
    clear = np.isin(mask, (0, MARK))
    light, marked = image.mean(-1)[clear], mask[clear] == MARK
    apart = False
    if not recoloured and marked.any() and not marked.all() and light.std() > 0:
        apart = abs(np.corrcoef(light, marked)[0, 1]) < ALIGNED
    return {
        "interpolated": float((~known).mean()),
        "recoloured": float(recoloured),
        "apart": float(apart),
    }
