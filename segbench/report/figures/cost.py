"""Quality against cost: what is on the Pareto front, and how sure that is."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from segbench.analysis.cost import COSTS, ArmCost
from segbench.report.figures.style import color, figure, plain, symbol

AXES = {
    "training": "training time of a run (s)",
    "latency": "latency of one image (ms)",
    "size": "size of the weights (MB)",
}


def known_costs(found: Sequence[ArmCost]) -> list[str]:
    """Those that were measured and have an axis."""
    return [name for name in AXES if any(name in one.values for one in found)]


def front_figure(found: Sequence[ArmCost], name: str) -> go.Figure:
    """Mean IoU against one cost: 95 % intervals in both directions, and the Pareto front."""
    points = [_point(one, name) for one in found]
    return figure(
        [_front(found, name), *points], AXES[name], "test mean IoU", xaxis_type=_scale(found, name)
    )


def cost_figure(found: Sequence[ArmCost]) -> go.Figure:
    """All of them side by side, for a paper."""
    known = known_costs(found)
    whole = make_subplots(rows=1, cols=len(known), shared_yaxes=True, horizontal_spacing=0.04)
    for column, name in enumerate(known, 1):
        for trace in front_figure(found, name).data:
            whole.add_trace(trace.update(showlegend=column == 1), row=1, col=column)
        whole.update_xaxes(title_text=AXES[name], type=_scale(found, name), row=1, col=column)
    whole.update_yaxes(title_text="test mean IoU", row=1, col=1)
    whole.update_layout(
        template="plotly_white", width=420 * len(known) + 180, height=420, margin_t=30
    )
    return whole


def _scale(found: Sequence[ArmCost], name: str) -> str:
    values = [bound for one in found for bound in one.values[name][1:]]
    return "log" if min(values) > 0 and max(values) > 10 * min(values) else "linear"


def _point(one: ArmCost, name: str) -> go.Scatter:
    x, x_low, x_high = one.values[name]
    y, y_low, y_high = one.mean_iou
    return go.Scatter(
        x=[x],
        y=[y],
        error_x={"type": "data", "array": [x_high - x], "arrayminus": [x - x_low]},
        error_y={"type": "data", "array": [y_high - y], "arrayminus": [y - y_low]},
        mode="markers",
        marker={"size": 10, "color": color(one.number), "symbol": symbol(one.number)},
        name=plain(one.arm),
        legendgroup=one.arm,
        hovertemplate="%{fullData.name}<br>"
        f"mean IoU {y:.3f} [{y_low:.3f}, {y_high:.3f}]<br>"
        f"{name} {x:.1f} {COSTS[name]} [{x_low:.1f}, {x_high:.1f}]<br>"
        f"on the front: {one.on_front[name]:.0%}<extra></extra>",
    )


def _front(found: Sequence[ArmCost], name: str) -> go.Scatter:
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
    )
