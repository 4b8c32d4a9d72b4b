"""``segbench report STUDY``: everything that a study says, on one page."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from segbench import __version__
from segbench.arguments import Arguments, file_ending_in, positive
from segbench.errors import InputError
from segbench.files import write_atomic
from segbench.parallel import cores
from segbench.report.page.chapters import Asked, chapter
from segbench.report.page.content import Chapter, Chart, Charts, Choice, Part, slug
from segbench.report.page.render import render
from segbench.study.plan import read_plan
from segbench.wording import counted


def main(argv: list[str]) -> None:
    """Write one self-contained HTML page: verdicts, curves, cost, errors, causes, provenance.

    It needs no network. Folders of the same plan are one study; others are chapters of their own.
    What is not there yet is named on the page, with the command that makes it.
    """
    options = _options(argv)
    studies = by_plan(options.study)
    names = _names(studies)
    if options.arm is not None and len(studies) > 1:
        raise InputError(f"--arm {options.arm}: give one study with it, not {len(studies)}")
    asked = Asked(options.arm, options.workers)
    chapters = [chapter(folders, name, asked) for name, folders in zip(names, studies, strict=True)]
    out = options.out or options.study[0] / "report.html"
    title = ", ".join(one.title for one in chapters)
    made = f"segbench {__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    page = render(f"{title}: what the runs say", made, chapters)
    write_atomic(out, page)
    if options.figures:
        number = _write_figures(options.figures, chapters)
        print(f"{options.figures}: {counted(number, 'figure')} as svg and png")
    print(f"{out}: {len(page.encode()) / 1e6:.1f} MB")


def by_plan(folders: Sequence[Path]) -> list[list[Path]]:
    """Folders of one plan together, in the order in which they were given."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        planned = (folder / "study.yaml").exists()
        found.setdefault(read_plan(folder).hash if planned else str(folder), []).append(folder)
    return list(found.values())


def _names(studies: Sequence[Sequence[Path]]) -> list[str]:
    """A short name for links, of each study."""
    found: list[str] = []
    for folders in studies:
        name = slug(folders[0].resolve().name)
        found.append(name if name not in found else f"{name}-{len(found) + 1}")
    return found


def charts(parts: Sequence[Part]) -> Iterator[Chart]:
    """All figures among the parts of a page."""
    for part in parts:
        if isinstance(part, Chart):
            yield part
        elif isinstance(part, Charts):
            yield from part.of
        elif isinstance(part, Choice):
            yield from charts(list(part.of.values()))


def _write_figures(folder: Path, chapters: Sequence[Chapter]) -> int:
    """Each figure as svg and png, on white, with its legend."""
    from segbench.report.figures.files import write_figures

    found = {
        one.name: one.figure
        for each in chapters
        for section in each.sections
        for one in charts(section.parts)
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_figures(found, folder)
    return len(found)


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("segbench report", main.__doc__)
    parser.add_argument("study", type=Path, nargs="+", help="studies' folders")
    parser.add_argument(
        "--out", type=file_ending_in(".html", ".htm"), metavar="FILE",
        help="the page (report.html in the first study)",
    )  # fmt: skip
    parser.add_argument("--arm", help="whose errors to look into (that with the highest mean IoU)")
    parser.add_argument(
        "--figures", type=Path, metavar="DIR", help="write the figures as svg and png too"
    )
    parser.add_argument(
        "--workers", type=positive, default=cores(), help="processes (one per core)"
    )
    return parser.parse_args(argv)
