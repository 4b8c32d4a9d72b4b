"""Figures as files: html, svg, png."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import plotly.graph_objects as go

from segbench.errors import InputError
from segbench.files import write_atomic


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
        raise _no_browser(path, error) from None
    write_atomic(path, content)


def write_figures(figures: Mapping[str, go.Figure], folder: Path) -> None:
    """Write figures as svg and png, on white and with their legends, fit for a paper.

    Args:
        figures: by the name of their files.
        folder: that is there.

    Raises:
        InputError: what draws them is not installed.
    """
    try:
        import kaleido

        kaleido.start_sync_server(silence_warnings=True)
    except (ImportError, ValueError, RuntimeError) as error:
        raise _no_browser(folder, error) from None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The kopts argument")  # plotly's own, to a server
            for name, figure in figures.items():
                paper = go.Figure(figure).update_layout(
                    paper_bgcolor="white",
                    plot_bgcolor="white",
                    width=640,
                    showlegend=len(figure.data) > 1,
                )
                for kind in ("svg", "png"):
                    write_figure(paper, folder / f"{name}.{kind}")
    finally:
        kaleido.stop_sync_server(silence_warnings=True)


def _no_browser(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:120]
    return InputError(
        f"{path}: svg and png need pip install 'segbench[figures]' and Chrome or Chromium "
        f"({reason}); or write .html"
    )
