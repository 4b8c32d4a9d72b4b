"""What a network gets wrong, as figures."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from segbench.analysis.anatomy import Errors
from segbench.analysis.errors import ClassErrors
from segbench.report.figures.style import color, figure, plain, symbol

KINDS = {"boundary": "at a border", "extent": "inside a segment", "segment": "whole segments"}
SHOWN = 0.05  # of a class's missed pixels, from which a share is written into its cell


def flow_figure(found: Errors) -> go.Figure:
    """Where the missed pixels of each class went: shares of a row's missed pixels."""
    names = [one.name for one in found.classes]
    columns = list(dict.fromkeys([*names, *(flow.predicted for flow in found.flows)]))
    share = np.full((len(names), len(columns)), np.nan)
    for flow in found.flows:
        if flow.truth in names:
            place = names.index(flow.truth), columns.index(flow.predicted)
            share[place] = flow.share_of_missed[0]
    text = [[f"{v:.0%}" if v >= SHOWN else "" for v in row] for row in share]
    heat = go.Heatmap(
        x=list(map(plain, columns)),
        y=list(map(plain, names)),
        z=[[None if np.isnan(v) else round(float(v), 4) for v in row] for row in share],
        text=text,
        texttemplate="%{text}",
        zmin=0,
        zmax=1,
        colorscale="Blues",
        showscale=False,
        hovertemplate="%{z:.1%} of the missed %{y} is called %{x}<extra></extra>",
    )
    height = 120 + 34 * len(names)
    return figure([heat], "called", "", height=height, yaxis_autorange="reversed")


def cause_figure(found: Sequence[ClassErrors]) -> go.Figure:
    """IoU that each class would gain if one kind of its errors were corrected."""
    names = [plain(one.name) for one in found]
    bars = [
        go.Bar(
            y=names,
            x=[one.lost_by_kind[kind] for one in found],
            name=words,
            orientation="h",
            marker={"color": color(number), "pattern_shape": pattern},
            hovertemplate="%{y}: %{x:+.3f} without errors " + words + "<extra></extra>",
        )
        for number, (pattern, (kind, words)) in enumerate(
            zip(("", "/", "x"), KINDS.items(), strict=True)
        )
    ]
    return figure(
        bars,
        "IoU gained if corrected",
        "",
        height=130 + 34 * len(names),
        barmode="stack",
        yaxis_autorange="reversed",
        legend_itemclick=False,
    )


def frequency_figure(found: Sequence[ClassErrors]) -> go.Figure:
    """Is a class good because it is common?"""
    points = go.Scatter(
        x=[one.frequency for one in found],
        y=[one.iou[0] for one in found],
        error_y={
            "type": "data",
            "array": [one.iou[2] - one.iou[0] for one in found],
            "arrayminus": [one.iou[0] - one.iou[1] for one in found],
        },
        text=[plain(one.name) for one in found],
        mode="markers+text",
        textposition=["top right" if i % 2 else "bottom right" for i in range(len(found))],
        cliponaxis=False,
        marker={"size": 9, "color": color(0)},
        hovertemplate="%{text}: IoU %{y:.3f}, %{x:.2%} of the pixels<extra></extra>",
    )
    return figure(
        [points],
        "share of the true pixels",
        "IoU",
        xaxis_type="log",
        xaxis_tickformat="~%",
        xaxis_dtick=1,
        margin_r=90,
        yaxis_range=[-0.02, 1.02],
    )


def near_figure(found: Sequence[ClassErrors]) -> go.Figure:
    """Error rate by distance to the true border."""
    lines = _lines(found, {one.name: one.near for one in found})
    made = figure(lines, "distance to the true border (px)", "share of wrong pixels")
    return made.update_layout(yaxis_tickformat=".0%", legend_itemclick=False)


def band_figure(found: Sequence[ClassErrors]) -> go.Figure:
    """Boundary IoU (Cheng et al., CVPR 2021) by the width of the band."""
    values = {one.name: {**one.boundary_iou, "all of it": one.iou[0]} for one in found}
    lines = _lines(found, values)
    made = figure(lines, "width of the band (px)", "Boundary IoU", legend_itemclick=False)
    return made.update_layout(xaxis_type="category")


def object_figure(found: Sequence[ClassErrors]) -> go.Figure:
    """Share of true segments that was found, by their size."""
    lines = _lines(found, {one.name: one.found for one in found})
    made = figure(lines, "size of the object (side of a square, px)", "share found")
    return made.update_layout(yaxis_tickformat=".0%", legend_itemclick=False)


def ceiling_figure(found: Errors) -> go.Figure:
    """IoU of each class in crops, beside the best that a map of a stride could reach there."""
    names = [plain(one.name) for one in found.classes]
    own = go.Scatter(
        x=[found.ceilings.reached[one.name] for one in found.classes],
        y=names,
        mode="markers",
        name="reached",
        marker={"size": 11, "color": color(4), "symbol": "star"},
    )
    best = [
        go.Scatter(
            x=[by_class[one.name] for one in found.classes],
            y=names,
            mode="markers",
            name=f"best at stride {stride}",
            marker={"size": 9, "color": color(number), "symbol": symbol(number)},
        )
        for number, (stride, by_class) in enumerate(found.ceilings.best.items())
    ]
    return figure(
        [own, *best],
        "IoU",
        "",
        height=130 + 30 * len(names),
        yaxis_autorange="reversed",
        xaxis_range=[-0.02, 1.02],
        legend_itemclick=False,
    )


def _lines(found: Sequence[ClassErrors], values: dict[str, dict[str, float]]) -> list[go.Scatter]:
    """One line per class over named places."""
    return [
        go.Scatter(
            x=list(values[one.name]),
            y=[None if np.isnan(v) else round(v, 4) for v in values[one.name].values()],
            name=plain(one.name),
            mode="lines+markers",
            line={"color": color(number)},
            marker={"symbol": symbol(number), "size": 8},
        )
        for number, one in enumerate(found)
    ]
