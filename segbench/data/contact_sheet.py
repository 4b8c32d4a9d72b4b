"""A picture that shows at a glance what a data set holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segbench.data.classes import IGNORE, SegmentationClass
from segbench.files import write_atomic

_CELL = 192
_GAP = 4
_LEGEND_ROW = 24
_PAPER = (30, 30, 30)
_IGNORED = (96, 96, 96)
"""The grey of ignored pixels; FloodNet's roads are (140, 140, 140)."""

Entries = list[tuple[str, tuple[int, int, int]]]
"""Names and RGB colours."""


def contact_sheet(
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray[np.uint8]],
    classes: Sequence[SegmentationClass],
    columns: int = 6,
) -> NDArray[np.uint8]:
    """Each image above its coloured mask, in a grid with a legend below.

    Args:
        images: RGB images (height, width, 3) of any sizes.
        masks: the class ids (height, width) of each image; ignored and unknown ids are grey.
        classes: the names and colours for the legend and the masks.
        columns: images in a row.

    Returns:
        The RGB sheet.
    """
    columns = max(1, min(columns, len(images)))
    palette = _palette(classes)
    cells = [
        np.vstack([_fit(image, cv2.INTER_AREA), _fit(palette[mask], cv2.INTER_NEAREST)])
        for image, mask in zip(images, masks, strict=True)
    ]
    legend = _legend(_entries(classes, masks), columns * (_CELL + _GAP))
    return np.vstack([*_rows(cells, columns), legend])


def overlay_sheet(
    parts: Mapping[str, Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]],
    classes: Sequence[SegmentationClass],
    columns: int = 3,
) -> NDArray[np.uint8]:
    """Each image beside itself under its coloured mask, part by part with its name above.

    Args:
        parts: RGB images and their class ids, by the name of their part (a split).
        classes: the names and colours.
        columns: images in a row.

    Returns:
        The RGB sheet.
    """
    palette = _palette(classes)
    strips = []
    for name, pairs in parts.items():
        cells = []
        for image, mask in pairs:
            photo, labels = _fit(image, cv2.INTER_AREA), _fit(palette[mask], cv2.INTER_NEAREST)
            cells.append(np.hstack([photo, cv2.addWeighted(photo, 0.5, labels, 0.5, 0)]))
        strips += [_title(name, 2 * columns * (_CELL + _GAP)), *_rows(cells, columns)]
    entries = _entries(classes, [mask for pairs in parts.values() for _, mask in pairs])
    return np.vstack([*strips, _legend(entries, 2 * columns * (_CELL + _GAP))])


def write_sheet(path: Path, sheet: NDArray[np.uint8]) -> None:
    """Write a sheet by the ending of its name: .jpg or .png."""
    encoded = cv2.imencode(path.suffix, cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1]
    write_atomic(path, encoded.tobytes())


def _palette(classes: Sequence[SegmentationClass]) -> NDArray[np.uint8]:
    """The colour of each mask value [256, 3]."""
    palette = np.full((256, 3), _IGNORED, np.uint8)
    for entry in classes:
        palette[entry.id] = entry.color
    return palette


def _entries(classes: Sequence[SegmentationClass], masks: Sequence[NDArray[np.uint8]]) -> Entries:
    """What the legend explains."""
    ignored = any(np.any(mask == IGNORE) for mask in masks)
    entries = [(entry.name, entry.color) for entry in classes]
    return entries + ([("ignored", _IGNORED)] if ignored else [])


def _rows(cells: Sequence[NDArray[np.uint8]], columns: int) -> list[NDArray[np.uint8]]:
    return [
        _row(cells[start : start + columns], columns) for start in range(0, len(cells), columns)
    ]


def _fit(picture: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
    """The picture as large as it fits, in the middle of a square cell with a margin."""
    height, width = picture.shape[:2]
    scale = _CELL / max(height, width)
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (_CELL - height) // 2, (_CELL - width) // 2
    cell = np.full((_CELL + _GAP, _CELL + _GAP, 3), _PAPER, np.uint8)
    cell[top : top + height, left : left + width] = cv2.resize(
        picture, (width, height), interpolation=interpolation
    )
    return cell


def _row(cells: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """The cells side by side, filled up to the full width."""
    empty = np.full_like(cells[0], _PAPER)
    return np.hstack([*cells, *[empty] * (columns - len(cells))])


def _title(name: str, width: int) -> NDArray[np.uint8]:
    strip = Image.new("RGB", (width, _LEGEND_ROW), _PAPER)
    font = ImageFont.load_default()
    ImageDraw.Draw(strip).text((_GAP, 6), name, font=font, fill=(255, 255, 255))
    return np.array(strip)


def _legend(entries: Entries, width: int) -> NDArray[np.uint8]:
    """A strip of colour patches with names, in as many lines as the width needs."""
    font = ImageFont.load_default()
    places: list[tuple[int, int, str]] = []
    x, y = _GAP, 0
    for name, _ in entries:
        name = _drawable(name, font)
        taken = _LEGEND_ROW + round(font.getlength(name)) + 3 * _GAP
        if x > _GAP and x + taken > width:
            x, y = _GAP, y + _LEGEND_ROW
        places.append((x, y, name))
        x += taken
    strip = Image.new("RGB", (width, y + _LEGEND_ROW), _PAPER)
    draw = ImageDraw.Draw(strip)
    for (left, top, name), (_, color) in zip(places, entries, strict=True):
        patch = (left, top + 5, left + _LEGEND_ROW - 8, top + _LEGEND_ROW - 5)
        draw.rectangle(patch, fill=color, outline=(255, 255, 255))
        draw.text((left + _LEGEND_ROW - 2, top + 6), name, font=font, fill=(255, 255, 255))
    return np.array(strip)


def _drawable(name: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """The name, with "?" for what the font cannot draw: Pillow's plain font is Latin-1 only."""
    try:
        font.getlength(name)
    except UnicodeEncodeError:
        return name.encode("ascii", "replace").decode()
    return name
