"""Figures as files: html, svg, png."""

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
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path}: svg and png need pip install 'segbench[figures]' and Chrome or Chromium "
            f"({reason}); or write .html"
        ) from None
    write_atomic(path, content)
