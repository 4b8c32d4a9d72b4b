"""Figures, made from what analysis found."""

import html
import math
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from segbench.analysis.cost import COSTS, ArmCost
from segbench.errors import InputError
from segbench.files import write_atomic

# Okabe & Ito (2008): told apart with every kind of colour vision
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x", "star")
AXES = {
    "training": "training time of a run (s)",
    "latency": "latency of one image (ms)",
    "size": "size of the weights (MB)",
}


def cost_figure(found: Sequence[ArmCost]) -> go.Figure:
    """Mean IoU against training time, latency and size: 95 % intervals, and the Pareto front."""
    known = [name for name in AXES if any(name in one.values for one in found)]
    figure = make_subplots(rows=1, cols=len(known), shared_yaxes=True, horizontal_spacing=0.04)
    for column, name in enumerate(known, 1):
        figure.add_trace(_front(found, name, shown=column == 1), row=1, col=column)
        for number, one in enumerate(found):
            point = _point(one, name, number, shown=column == 1)
            figure.add_trace(point, row=1, col=column)
        values = [bound for one in found for bound in one.values[name][1:]]
        wide = min(values) > 0 and max(values) > 10 * min(values)
        figure.update_xaxes(
            title_text=AXES[name], type="log" if wide else "linear", row=1, col=column
        )
    figure.update_yaxes(title_text="test mean IoU", row=1, col=1)
    figure.update_layout(
        template="plotly_white", width=420 * len(known) + 180, height=420, margin_t=30
    )
    return figure


def _point(one: ArmCost, name: str, number: int, shown: bool) -> go.Scatter:
    x, x_low, x_high = one.values[name]
    y, y_low, y_high = one.mean_iou
    return go.Scatter(
        x=[x],
        y=[y],
        error_x={"type": "data", "array": [x_high - x], "arrayminus": [x - x_low]},
        error_y={"type": "data", "array": [y_high - y], "arrayminus": [y - y_low]},
        mode="markers",
        marker={
            "size": 10,
            "color": COLORS[number % len(COLORS)],
            "symbol": SYMBOLS[number % len(SYMBOLS)],
        },
        name=html.escape(one.arm),  # plotly reads tags in names
        legendgroup=one.arm,
        showlegend=shown,
        hovertemplate="%{fullData.name}<br>"
        f"mean IoU {y:.3f} [{y_low:.3f}, {y_high:.3f}]<br>"
        f"{name} {x:.1f} {COSTS[name]} [{x_low:.1f}, {x_high:.1f}]<br>"
        f"on the front: {one.on_front[name]:.0%}<extra></extra>",
    )


def _front(found: Sequence[ArmCost], name: str, shown: bool) -> go.Scatter:
    """Steps through the arms that no other beats, by their means."""
    xs: list[float] = []
    ys: list[float] = []
    best = -math.inf
    for one in sorted(found, key=lambda one: (one.values[name][0], -one.mean_iou[0])):
        if one.mean_iou[0] > best:
            best = one.mean_iou[0]
            xs.append(one.values[name][0])
            ys.append(best)
    return go.Scatter(
        x=xs,
        y=ys,
        mode="lines",
        line={"shape": "hv", "color": "#999999", "dash": "dot"},
        name="Pareto front of the means",
        hoverinfo="skip",
        showlegend=shown,
    )


def write_figure(figure: go.Figure, path: Path) -> None:
    """Write a figure by the ending of its name: html that needs no network, svg or png.

    Raises:
        InputError: svg or png without what draws them.
    """
    if path.suffix == ".html":
        write_atomic(path, figure.to_html(include_plotlyjs=True))
        return
    try:
        content = figure.to_image(format=path.suffix.removeprefix("."), scale=2)
    except (ValueError, RuntimeError) as error:  # no kaleido, or no browser for it
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path}: svg and png need pip install 'segbench[figures]' and Chrome or Chromium "
            f"({reason}); or write .html"
        ) from None
    write_atomic(path, content)
