"""``classes.json``: what the ids in the masks mean."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segbench.errors import InputError
from segbench.files import write_atomic
from segbench.reading import read_json

IGNORE = 255
"""The mask value of pixels that count neither in the loss nor in any score."""


@dataclass(frozen=True)
class SegmentationClass:
    """One class: its mask value, its name, its display colour (RGB, 0..255)."""

    id: int
    name: str
    color: tuple[int, int, int]


def read_classes(path: Path) -> list[SegmentationClass]:
    """The classes in ``path``, ordered by id.

    Raises:
        InputError: no such file, not a list of {id, name, color}, a repeated name, or ids
            other than 0, 1, ..., K-1.
    """
    if not path.exists():
        raise InputError(
            f"{path}: not found; a data set lists its classes there as "
            '[{"id": 0, "name": "Background", "color": [0, 0, 0]}, ...]'
        )
    return as_classes(read_json(path), str(path))


def as_classes(entries: Any, where: str) -> list[SegmentationClass]:
    """A list of {id, name, color}, as JSON has it, checked and ordered by id.

    Raises:
        InputError: it is none, which names ``where`` it stands.
    """
    try:
        classes = sorted((_class(entry) for entry in entries), key=lambda c: c.id)
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(
            f"{where}: must be a list of {{id, name, color}} with color [red, green, blue] "
            f"in 0..255 ({type(error).__name__}: {error})"
        ) from None
    ids = [c.id for c in classes]
    if not classes or ids != list(range(len(ids))) or len(ids) > IGNORE:
        raise InputError(f"{where}: ids must be 0, 1, ..., without gap or repeat, but are {ids}")
    names = [c.name for c in classes]
    if len(set(names)) < len(names):
        raise InputError(f"{where}: two classes share a name: {names}; give each its own")
    return classes


def write_classes(path: Path, classes: Sequence[SegmentationClass]) -> None:
    """Write ``classes`` so that :func:`read_classes` gives them back."""
    write_atomic(path, json.dumps([asdict(c) for c in classes], indent=1) + "\n")


def _class(entry: dict[str, object]) -> SegmentationClass:
    color = tuple(int(part) for part in entry["color"])  # type: ignore[attr-defined]
    if len(color) != 3 or not all(0 <= part <= 255 for part in color):
        raise ValueError(f"color {entry['color']}")
    if isinstance(entry["id"], bool) or not isinstance(entry["id"], int):
        raise TypeError(f"id {entry['id']!r}")
    return SegmentationClass(entry["id"], str(entry["name"]), color)
