"""What a page is made of. Names of users are plain text here; the template makes them safe."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import plotly.graph_objects as go
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Sentences:
    """Findings, each of its own; the first ones are shown at once."""

    kind: ClassVar = "sentences"
    lines: Sequence[str]
    first: ClassVar = 8


@dataclass(frozen=True)
class Verdict:
    """One contrast: its verdict in a word, and in a sentence that can be quoted."""

    kind: ClassVar = "verdict"
    word: str
    sentence: str
    paid: str | None = None


@dataclass(frozen=True)
class Chart:
    """A figure; ``by_arm``: whether the page's own legend of arms governs it."""

    kind: ClassVar = "chart"
    name: str
    title: str
    caption: str
    figure: go.Figure
    by_arm: bool = False

    @cached_property
    def spec(self) -> dict[str, Any]:
        """Data and layout, as plotly.js takes them."""
        content: dict[str, Any] = json.loads(self.figure.to_json())
        content["layout"].pop("template", None)
        if self.by_arm:
            content["layout"]["showlegend"] = False
        return {"data": content["data"], "layout": content["layout"]}


@dataclass(frozen=True)
class Charts:
    """Figures side by side."""

    kind: ClassVar = "charts"
    of: Sequence[Chart]
    wide: bool = False


@dataclass(frozen=True)
class Choice:
    """Alternatives of which one is shown."""

    kind: ClassVar = "choice"
    label: str
    of: dict[str, Charts]
    smooth: bool = False


@dataclass(frozen=True)
class Grid:
    """A table: plain text by row; ``numbers``: which columns sort as numbers."""

    kind: ClassVar = "grid"
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[bool]
    folded: bool = True


@dataclass(frozen=True)
class Picture:
    """An image as a data URI."""

    kind: ClassVar = "picture"
    title: str
    source: str
    words: str


@dataclass(frozen=True)
class Swatches:
    """Names with their colours."""

    kind: ClassVar = "swatches"
    of: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Commands:
    """What to type to have it again."""

    kind: ClassVar = "commands"
    lines: Sequence[str]


@dataclass(frozen=True)
class Missing:
    """What is not here, why, and how to have it."""

    kind: ClassVar = "missing"
    words: str


@dataclass(frozen=True)
class Layers:
    """One place of the gallery: pictures of the same crop, as data URIs.

    Args:
        image: its name.
        place: where in it, in words.
        cause: the confusion it stands for.
        truth: class by its name.
        image_source: the crop itself.
        truth_source: true classes.
        agreement_source: share of the seeds that are wrong, black where all are.
        predictions: classes by arm.
        errors: kinds of error by arm.
    """

    image: str
    place: str
    cause: str
    truth: str
    image_source: str
    truth_source: str
    agreement_source: str
    predictions: dict[str, str]
    errors: dict[str, str]


@dataclass(frozen=True)
class Gallery:
    """The worst places, to leaf through."""

    kind: ClassVar = "gallery"
    name: str
    of: Sequence[Layers]
    arms: Sequence[str]
    classes: Sequence[tuple[str, str]]
    kinds: Sequence[tuple[str, str]]

    @property
    def content(self) -> list[dict[str, Any]]:
        return [vars(one) for one in self.of]


Part = (
    Sentences | Verdict | Chart | Charts | Choice | Grid | Picture | Swatches | Commands | Missing
    | Gallery
)  # fmt: skip


@dataclass(frozen=True)
class Section:
    """A question and what answers it."""

    name: str
    title: str
    parts: list[Part]
    lead: str = ""


@dataclass(frozen=True)
class Chapter:
    """A study: ``arms`` with the swatches (CSS) of their lines in every figure."""

    name: str
    title: str
    arms: Sequence[tuple[str, str]]
    sections: list[Section]
    notes: list[str] = field(default_factory=list)


def grid(table: Table, folded: bool = True) -> Grid:
    """A table of the terminal as one of the page: the same cells, as text."""
    columns = [[_text(cell) for cell in column.cells] for column in table.columns]
    rows = list(zip(*columns, strict=True))
    numbers = [column.justify == "right" for column in table.columns]
    heads = [_text(column.header) for column in table.columns]
    return Grid(_text(table.title or ""), heads, rows, numbers, folded)


def _text(cell: Any) -> str:
    return Text.from_markup(cell, emoji=False).plain if isinstance(cell, str) else str(cell)


def slug(text: str) -> str:
    """A name for an anchor; ASCII, without spaces."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "study"
