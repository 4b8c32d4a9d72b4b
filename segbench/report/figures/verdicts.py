"""Differences with their intervals, against the margin."""

from collections.abc import Sequence

import plotly.graph_objects as go

from segbench.analysis.compare import Contrast
from segbench.report.figures.style import QUIET, color, figure, interval_trace, plain
from segbench.report.verdicts import names_of

OUTCOMES = {"better": 2, "worse": 4, "equivalent": 0, "inconclusive": 6, "not assessable": 6}
"""Of a verdict the number of its colour: green, vermilion, blue, grey."""


def forest_figure(contrasts: Sequence[Contrast]) -> go.Figure:
    """Each difference with its interval, coloured by its verdict; the margin is the grey band."""
    names = list(map(plain, names_of(contrasts)))
    traces = []
    for outcome, number in OUTCOMES.items():
        rows = [i for i, c in enumerate(contrasts) if _outcome(c) == outcome and c.seeds]
        if rows:
            traces.append(
                interval_trace(
                    [contrasts[i].difference for i in rows],
                    [names[i] for i in rows],
                    [(contrasts[i].ci_low, contrasts[i].ci_high) for i in rows],
                    number,
                    outcome,
                    hovertemplate="%{y}: %{x:+.3f}<extra>%{fullData.name}</extra>",
                )
            )
    made = figure(
        traces, "difference", "",
        height=130 + 34 * len(names), legend_itemclick=False,
    )  # fmt: skip
    made.update_yaxes(categoryorder="array", categoryarray=names[::-1])
    made.update_yaxes(range=[-0.6, len(names) - 0.4])
    margin = contrasts[0].margin
    made.add_vrect(x0=-margin, x1=margin, fillcolor=QUIET, line_width=0, layer="below")
    return made.add_vline(x=0, line_width=1, line_color="gray")


def class_figure(contrasts: Sequence[Contrast], arms: Sequence[str]) -> go.Figure:
    """Differences of each class's IoU, in the colour of their arm.

    Args:
        contrasts: of all classes.
        arms: names, in the order of their colours.
    """
    by_contrast: dict[str, list[Contrast]] = {}
    for name, c in zip(names_of(contrasts), contrasts, strict=True):
        by_contrast.setdefault(name, []).append(c)
    classes = list(dict.fromkeys(c.metric.removeprefix("iou/") for c in contrasts))
    traces = []
    known = [c[0].arm for c in by_contrast.values()]
    own = len(set(known)) == len(known) and set(known) <= set(arms)
    for number, (name, of_classes) in enumerate(by_contrast.items()):
        offset = 0.7 * ((number + 0.5) / len(by_contrast) - 0.5)
        traces.append(
            interval_trace(
                [c.difference for c in of_classes],
                [classes.index(c.metric.removeprefix("iou/")) + offset for c in of_classes],
                [(c.ci_low, c.ci_high) for c in of_classes],
                arms.index(known[number]) if own else number,
                name,
                hovertemplate="%{text}: %{x:+.3f}<extra>%{fullData.name}</extra>",
                text=[plain(c.metric.removeprefix("iou/")) for c in of_classes],
            )
        )
    height = 140 + len(classes) * (18 + 14 * len(by_contrast))
    made = figure(traces, "difference of IoU", "", height=height, legend_itemclick=False)
    made.update_yaxes(
        tickvals=list(range(len(classes))), ticktext=list(map(plain, classes)), autorange="reversed"
    )
    return made.add_vline(x=0, line_width=1, line_color=color(6))


def _outcome(contrast: Contrast) -> str:
    """The verdict in one word; a difference that is there but negligible keeps its direction."""
    return contrast.verdict.removesuffix(" and equivalent")
