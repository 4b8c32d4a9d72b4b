"""Images of any size, in tiles: the logits of a whole image in the memory of a strip of it.

Tiles overlap. Near an edge that a tile has inside the image its network lacks what lies beyond,
so the outermost quarter of an overlap counts for nothing there, and over its middle half the
logits of one tile fade into those of the next. Edges of the image count in full. Where nothing
the network sees is farther away than that quarter, the result is that of the whole image; a pool
over the whole image (ASPP) sees its tile only.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from segbench.models.network import SegmentationNetwork

Read = Callable[[slice, slice], Tensor]
"""Rows and columns -> those pixels of the images [N, 3, h, w], values 0..255."""

STRIP = 4096
"""Columns, or a few more, that are held at a time."""


class Window(NamedTuple):
    """A finished part: its place in the image, and its logits [N, K, rows, columns], float32."""

    rows: slice
    columns: slice
    logits: Tensor


@dataclass(frozen=True)
class Span:
    """One axis of a tile: it shows start..stop, and counts in first..last."""

    start: int
    stop: int
    first: int
    last: int
    weights: Tensor
    """Of first..last: 1, and a ramp towards each neighbour, whose own is the rest to 1."""


def spans(length: int, tile: int, overlap: int, stride: int) -> list[Span]:
    """The tiles along an axis of ``length`` pixels: as few as can be, evenly spread.

    They start at multiples of ``stride``, so that the network's coarse maps lie as those of the
    whole image do, and each pair of neighbours shares ``overlap`` pixels or more.

    Raises:
        ValueError: ``tile`` is no multiple of ``stride``, or ``overlap`` is more than half of it
            or leaves no step.
    """
    if tile % stride or not 0 <= overlap <= min(tile // 2, tile - stride):
        raise ValueError(f"tiles of {tile} px that share {overlap}, at a stride of {stride}")
    step = (tile - overlap) // stride
    room = max(0, -(-length // stride) - tile // stride)  # what the first tile leaves, in strides
    steps = -(-room // step)
    starts = [stride * (k * room // max(1, steps)) for k in range(steps + 1)]
    ramp = min(overlap, stride * step) // 2
    # each ramp lies in the middle of what its two tiles share
    firsts = [0] + [(a + b + tile - ramp) // 2 for a, b in pairwise(starts)]
    lasts = [first + ramp for first in firsts[1:]] + [length]
    rising = (torch.arange(ramp) + 0.5) / max(1, ramp)
    found = []
    for start, first, last in zip(starts, firsts, lasts, strict=True):
        weights = torch.ones(last - first)
        if first > 0:
            weights[:ramp] = rising
        if last < length:
            weights[len(weights) - ramp :] = 1 - rising
        found.append(Span(start, min(start + tile, length), first, last, weights))
    return found


def tiled(
    network: SegmentationNetwork,
    read: Read,
    height: int,
    width: int,
    *,
    tile: int,
    overlap: int,
    strip: int = STRIP,
) -> Iterator[Window]:
    """The logits of images of ``height`` x ``width`` pixels, window by window.

    The windows cover every pixel once: strips of about ``strip`` columns from left to right, each
    from top to bottom. Memory depends on ``tile`` and ``strip``, not on the images; the result
    not on ``strip``. A tile at the border of two strips is computed for both.

    Args:
        network: in eval mode.
        read: gives the pixels of one tile.
        height: of the images.
        width: of the images.
        tile: side of the tiles, a multiple of the network's stride; an image that is no larger is
            one tile.
        overlap: pixels that neighbours share at least, up to half a tile.
        strip: columns of logits that are held at a time, or one tile's where that is more.
    """
    rows = spans(height, tile, overlap, network.stride)
    columns = spans(width, tile, overlap, network.stride)
    per_strip = max(1, strip // (tile - overlap))
    for at in range(0, len(columns), per_strip):
        after = columns[at + per_strip :]
        left, right = columns[at].first, after[0].first if after else width
        # the last tile of the strip before may still fade out here
        counting = [column for column in columns if column.first < right and column.last > left]
        yield from _strip(network, read, rows, counting, left, right)


def tiled_logits(network: SegmentationNetwork, images: Tensor, tile: int, overlap: int) -> Tensor:
    """Logits [N, K, H, W] of images [N, 3, H, W] in memory; only the network's maps are spared."""
    height, width = images.shape[2:]
    whole: Tensor | None = None
    for rows, columns, logits in tiled(
        network, lambda r, c: images[..., r, c], height, width, tile=tile, overlap=overlap
    ):
        if whole is None:
            whole = logits.new_empty(*logits.shape[:2], height, width)
        whole[..., rows, columns] = logits
    assert whole is not None
    return whole


def _strip(
    network: SegmentationNetwork,
    read: Read,
    rows: list[Span],
    columns: list[Span],
    left: int,
    right: int,
) -> Iterator[Window]:
    fading: Tensor | None = None  # what the band above leaves in the ramp that it shares
    for row, below in zip(rows, [*rows[1:], None], strict=True):
        band: Tensor | None = None
        for column in columns:
            shown = read(slice(row.start, row.stop), slice(column.start, column.stop))
            first, last = max(column.first, left), min(column.last, right)
            logits = network(shown)[
                ...,
                row.first - row.start : row.last - row.start,
                first - column.start : last - column.start,
            ].float()
            down = row.weights.to(logits.device)[:, None]
            across = column.weights[first - column.first : last - column.first].to(logits.device)
            if band is None:
                band = logits.new_zeros(*logits.shape[:2], row.last - row.first, right - left)
            band[..., first - left : last - left] += logits * (down * across)
        assert band is not None
        if fading is not None:
            band[..., : fading.shape[2], :] += fading
        finished = below.first if below else row.last
        fading = band[..., finished - row.first :, :].clone()  # lets the band go
        yield Window(
            slice(row.first, finished), slice(left, right), band[..., : finished - row.first, :]
        )
