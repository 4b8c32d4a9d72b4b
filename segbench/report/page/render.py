"""A page as HTML: everything in one file, which asks no network for anything."""

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from segbench.report.page.content import Chapter


def render(title: str, made: str, chapters: Sequence[Chapter]) -> str:
    """The page; names and paths of users appear in it as text, never as markup.

    Args:
        title: of the page.
        made: by what, when, from what.
        chapters: one per study.
    """
    environment = Environment(
        loader=PackageLoader("segbench.report.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # unsorted, and small
    loader = environment.loader
    assert loader is not None
    style, script = (loader.get_source(environment, f)[0] for f in ("style.css", "script.js"))
    return environment.get_template("template.html").render(
        title=title, made=made, chapters=chapters, style=style, script=script, plotly=_plotly()
    )


@cache
def _plotly() -> str:
    return str(get_plotlyjs())
