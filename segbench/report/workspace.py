"""A comparison as a saved W&B workspace: which panels it has, and of which keys."""

from collections.abc import Sequence
from dataclasses import dataclass

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from segbench.overlays import EXAMPLES
from segbench.report.figures.cost import AXES

VERDICTS, FOREST, COSTS = "verdicts", "forest", "costs"
"""Keys of the summary run: the contrasts, their figure, and what the arms cost."""

COST_KEYS = {
    "training": "cost/train_seconds",
    "latency": "cost/latency_ms",
    "size": "cost/size_mb",
}
"""Keys in the summary of a run, by the names of ``segbench.analysis.cost.COSTS``."""

CURVES = {
    "val/mean_iou": "val mean IoU",
    "train/loss": "training loss",
    "train_clean/mean_iou": "mean IoU on clean training images",
    "val/loss": "val loss",
}
SCORE = "test/mean_iou"
MOST_SHOWN = 1000  # runs; a panel leaves out what is beyond its limit without a word


@dataclass(frozen=True)
class View:
    """What a workspace is about.

    Args:
        name: of the study.
        runs: IDs of its runs, the summary run among them.
        factors: where the runs' configuration has each factor, dotted.
        group: where it has what tells all arms apart.
        costs: which of :data:`COST_KEYS` all runs have.
        text: the verdicts in words, as Markdown.
    """

    name: str
    runs: Sequence[str]
    factors: Sequence[str]
    group: str
    costs: Sequence[str]
    text: str


def save_workspace(entity: str, project: str, view: View, before: str | None) -> str:
    """Save a workspace and give its address.

    Args:
        entity: whose project it is.
        project: its name.
        view: what it shows.
        before: the address of the workspace that it replaces, if there is one.
    """
    workspace = ws.Workspace(entity, project, _plain(view.name))
    if before:
        try:
            workspace = ws.Workspace.from_url(before)
        except ValueError:  # it was deleted
            print(f"{before}: is no more there; a new one takes its place")
    workspace.sections = sections_of(view)
    workspace.settings = ws.WorkspaceSettings(x_axis="epoch", max_runs=MOST_SHOWN)
    workspace.runset_settings = ws.RunsetSettings(
        filters=[ws.Metric("ID").isin(list(view.runs))],
        groupby=[ws.Config(key) for key in view.factors],
        pinned_columns=[f"summary:{key}" for key in (SCORE, *_cost_keys(view))],
    )
    workspace.save()
    return str(workspace.url)


def sections_of(view: View) -> list[ws.Section]:
    """The panels, by what they answer."""
    curves = [
        wr.LinePlot(
            title=f"{title}: mean ± standard deviation over seeds",
            x="epoch",
            y=[key],
            groupby=wr.Config(view.group),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            max_runs_to_show=MOST_SHOWN,
        )
        for key, title in CURVES.items()
    ]
    costs = [
        wr.ScatterPlot(
            title=f"test mean IoU against {AXES[name]}",
            x=wr.SummaryMetric(COST_KEYS[name]),
            y=wr.SummaryMetric(SCORE),
        )
        for name in view.costs
    ]
    axes = [*map(wr.Config, view.factors), *map(wr.SummaryMetric, (*_cost_keys(view), SCORE))]
    parallel = wr.ParallelCoordinatesPlot(
        title="factors, costs and score of each run",
        columns=[wr.ParallelCoordinatesPlotColumn(axis) for axis in axes],
    )
    verdicts = [
        wr.MarkdownPanel(markdown=view.text),
        wr.MediaBrowser(title="differences with their intervals", media_keys=[FOREST]),
        wr.WeavePanelSummaryTable(table_name=VERDICTS),
        wr.WeavePanelSummaryTable(table_name=COSTS),
    ]
    masks = wr.MediaBrowser(
        title="predictions over their images",
        media_keys=[EXAMPLES],
        grid_x_axis="index",
        grid_y_axis="run",
    )
    panels = {
        "Verdicts": (verdicts, 2),
        "Curves": (curves, 2),
        "Cost": (costs, 3),
        "Parallel coordinates": ([parallel], 1),
        "Prediction masks": ([masks], 1),
    }
    return [
        ws.Section(name, part, True, layout_settings=ws.SectionLayoutSettings(columns, 2))
        for name, (part, columns) in panels.items()
    ]


def _cost_keys(view: View) -> list[str]:
    return [COST_KEYS[name] for name in view.costs]


def _plain(name: str) -> str:
    """W&B takes no symbols in the name of a workspace."""
    return "".join(letter if letter.isalnum() or letter in " ._-" else "-" for letter in name)
