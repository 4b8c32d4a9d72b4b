"""Learning curves: every seed, their mean and their spread."""

from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go

from segbench.analysis.curves import Curve, CurveDifference
from segbench.report.figures.style import faint, figure, line, plain

SMOOTHED = "smoothed"
"""Marks the lines that the page smooths when asked to."""


def curve_figure(curves: Sequence[tuple[str, Sequence[int], Curve]], title: str) -> go.Figure:
    """One quantity over the epochs.

    Args:
        curves: of each arm its name, the seeds, and the values [S, E].
        title: of the axis; losses get a logarithmic one.
    """
    traces = [
        trace
        for number, (name, seeds, values) in enumerate(curves)
        if values.size
        for trace in _of_arm(number, name, seeds, values)
    ]
    made = figure(traces, "epoch", title, yaxis_type="log" if "loss" in title else "linear")
    return _in_epochs(made)


def _of_arm(number: int, name: str, seeds: Sequence[int], values: Curve) -> Iterable[go.Scatter]:
    epochs = list(range(1, values.shape[1] + 1))
    mean = values.mean(0)
    shared = {"x": epochs, "legendgroup": name, "mode": "lines"}
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        low, high = (
            np.maximum(mean - spread, values.min(0)),
            np.minimum(mean + spread, values.max(0)),
        )
        edge = {**shared, "line_width": 0, "showlegend": False, "hoverinfo": "skip"}
        yield go.Scatter(y=_short(high), meta=SMOOTHED, **edge)
        fill = {"fill": "tonexty", "fillcolor": faint(number, 0.18)}
        yield go.Scatter(y=_short(low), meta=SMOOTHED, **edge, **fill)
        for seed, one in zip(seeds, values, strict=True):
            yield go.Scatter(
                y=_short(one),
                name=f"{plain(name)}, seed {seed}",
                line={"color": faint(number, 0.35), "width": 1},
                showlegend=False,
                meta=SMOOTHED,
                **shared,
            )
    markers = {"mode": "lines+markers"} if len(epochs) == 1 else {}
    yield go.Scatter(
        y=_short(mean), name=plain(name), line=line(number), meta=SMOOTHED, **(shared | markers)
    )


def difference_figure(found: Sequence[CurveDifference]) -> go.Figure:
    """Val mean IoU of arms less the first's: the mean, and its pointwise 95 % band."""
    traces = []
    for number, one in enumerate(found, 1):
        shared = {"x": [epoch + 1 for epoch in one.epochs], "legendgroup": one.arm, "mode": "lines"}
        if np.isfinite(one.high).all():
            edge = {**shared, "line_width": 0, "showlegend": False, "hoverinfo": "skip"}
            fill = {"fill": "tonexty", "fillcolor": faint(number, 0.18)}
            traces.append(go.Scatter(y=_short(one.high), **edge))
            traces.append(go.Scatter(y=_short(one.low), **edge, **fill))
        name = plain(f"{one.arm} - {one.baseline}")
        traces.append(go.Scatter(y=_short(one.mean), name=name, line=line(number), **shared))
    made = figure(traces, "epoch", "difference of val mean IoU")
    return _in_epochs(made).add_hline(y=0, line_width=1, line_color="gray")


def _in_epochs(made: go.Figure) -> go.Figure:
    """Whole numbers on the axis."""
    last = max((len(trace.x) for trace in made.data), default=0)
    return made.update_xaxes(tickformat="d", dtick=1 if last <= 12 else None)


def _short(values: Iterable[float]) -> list[float | None]:
    """As many digits as an eye can use: a page holds many curves."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]
