"""Why augmentation and ASPP help or hurt, as figures."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from segbench.analysis.aspp import Context
from segbench.analysis.augmentation import Gap
from segbench.probes import PolicyAudit
from segbench.report.figures.style import color, figure, plain, symbol

SPLITS = {
    "train": "train, augmented crops",
    "train_clean": "train, clean",
    "val": "val",
    "test": "test",
}


def gap_figure(gaps: Sequence[Gap]) -> go.Figure:
    """Each arm's mean IoU on augmented, clean, validation and test images."""
    names = [plain(gap.arm) for gap in gaps]
    points = [
        go.Scatter(
            x=[getattr(gap, split) for gap in gaps],
            y=names,
            name=words,
            mode="markers",
            marker={"size": 10, "color": color(number), "symbol": symbol(number)},
        )
        for number, (split, words) in enumerate(SPLITS.items())
    ]
    return figure(
        points, "mean IoU", "", height=120 + 30 * len(names),
        yaxis_autorange="reversed", legend_itemclick=False,
    )  # fmt: skip


def scale_figure(audits: Mapping[str, PolicyAudit]) -> go.Figure:
    """At which scale training crops show objects: median and 5-95 %; evaluation is at 1."""
    known = {name: audit.scale for name, audit in audits.items() if audit.scale is not None}
    middle = [scale[0] for scale in known.values()]
    points = go.Scatter(
        x=middle,
        y=[plain(name) for name in known],
        error_x={
            "type": "data",
            "array": [scale[2] - scale[0] for scale in known.values()],
            "arrayminus": [scale[0] - scale[1] for scale in known.values()],
        },
        mode="markers",
        marker={"size": 10, "color": color(0)},
    )
    made = figure(
        [points], "scale of objects in training crops", "", height=110 + 30 * len(known),
        yaxis_autorange="reversed", xaxis_type="log",
    )  # fmt: skip
    return made.add_vline(x=1, line_dash="dot", line_color="gray")


def tap_figure(contexts: Sequence[Context]) -> go.Figure:
    """What each dilated branch sees: taps and places on image, in training and in evaluation."""
    rows = [(context, branch) for context in contexts for branch in context.branches]
    names = [plain(f"{context.arm}, rate {branch.rate}") for context, branch in rows]
    seen = {
        "training crops": [branch.seen_in_training for _, branch in rows],
        "evaluation": [branch.seen_in_evaluation for _, branch in rows],
    }
    bars = [
        go.Bar(
            y=names,
            x=values,
            name=words,
            orientation="h",
            marker={"color": color(number), "pattern_shape": ("", "/")[number]},
        )
        for number, (words, values) in enumerate(seen.items())
    ]
    return figure(
        bars, "taps x positions that see image", "", height=120 + 34 * len(names),
        barmode="group", yaxis_autorange="reversed", xaxis_tickformat=".0%",
        xaxis_range=[0, 1.02], legend_itemclick=False,
    )  # fmt: skip
