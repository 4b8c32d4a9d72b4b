"""What all figures share: colours that every eye can tell apart, plain axes, names as text."""

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

# Okabe & Ito (2008): told apart with every kind of colour vision; grey for their black, which a
# dark page would swallow
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#7F7F7F", "#F0E442")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
DASHES = {"solid": 0, "dash": 4, "dot": 1, "dashdot": 2}
"""Of lines, in each round of the colours, and the stripes of their swatches in pixels."""
GRID = "rgba(127,127,127,0.25)"
QUIET = "rgba(127,127,127,0.15)"
"""Of areas that stand behind the data."""


def color(number: int) -> str:
    """Of the arm or class of that number."""
    return COLORS[number % len(COLORS)]


def symbol(number: int) -> str:
    """Beside its colour; another one in each round of the colours."""
    return SYMBOLS[(number + number // len(COLORS)) % len(SYMBOLS)]


def line(number: int) -> dict[str, Any]:
    """In its colour; dashed in another way in each round of the colours."""
    return {"color": color(number), "width": 2.5, "dash": _dash(number)}


def swatch(number: int) -> str:
    """The background, in CSS, of what stands for its line in a legend."""
    own, width = color(number), DASHES[_dash(number)]
    stripes = f"{own} 0 {width}px, transparent {width}px {2 * width}px"
    return f"repeating-linear-gradient(90deg, {stripes})" if width else own


def _dash(number: int) -> str:
    return list(DASHES)[number // len(COLORS) % len(DASHES)]


def faint(number: int, opacity: float) -> str:
    """The colour, let through."""
    red, green, blue = (int(color(number)[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def plain(name: str) -> str:
    """A name as text: plotly reads tags in names, labels and hover texts."""
    return html.escape(name, quote=False)


def figure(
    traces: Sequence[go.Scatter | go.Bar | go.Heatmap],
    x: str,
    y: str,
    height: int = 320,
    **layout: Any,
) -> go.Figure:
    """Traces on plain axes, on no background: the page or the paper has its own.

    Args:
        traces: what is drawn.
        x: the title of the axis.
        y: the other's.
        height: in pixels; the width is that of where it stands.
        layout: anything else of plotly's layout.
    """
    axis = {"gridcolor": GRID, "zerolinecolor": "rgba(127,127,127,0.6)", "automargin": True}
    made = go.Figure(list(traces))
    made.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        colorway=COLORS,
        xaxis={"title_text": x, **axis},
        yaxis={"title_text": y, **axis},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        hoverlabel_namelength=-1,
        font={"family": "system-ui, sans-serif", "size": 13},
    )
    made.update_layout(**layout)
    return made


def interval_trace(
    x: Sequence[float],
    y: Sequence[str] | Sequence[float],
    bounds: Sequence[tuple[float | None, float | None]],
    number: int,
    name: str,
    **more: Any,
) -> go.Scatter:
    """Points with horizontal intervals, in the colour of a number; None has no interval."""
    over = [None if high is None else high - v for v, (_, high) in zip(x, bounds, strict=True)]
    under = [None if low is None else v - low for v, (low, _) in zip(x, bounds, strict=True)]
    return go.Scatter(
        x=list(x),
        y=list(y),
        error_x={"type": "data", "array": over, "arrayminus": under, "thickness": 1.5},
        mode="markers",
        marker={"size": 9, "color": color(number), "symbol": symbol(number)},
        name=plain(name),
        legendgroup=name,
        **more,
    )
