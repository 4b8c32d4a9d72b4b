"""``segbench data check DIR``: the survey, printed, pictured and written down."""

import sys
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from segbench.arguments import PICTURE, Arguments, output_file, tables_console
from segbench.data.contact_sheet import overlay_sheet, write_sheet
from segbench.data.dataset import SPLITS, read_image, read_mask
from segbench.data.survey.duplicates import BITS, NEAR
from segbench.data.survey.survey import Survey, survey
from segbench.errors import InputError
from segbench.files import as_json, write_atomic
from segbench.wording import counted

SHEET_IMAGES = 6
"""Of each split, spread over the order of names."""


def main(argv: list[str]) -> None:
    """Look at every file of a data set and list all that is wrong (problems) or odd (remarks).

    Exit code 0 without problems, 1 with any.
    """
    parser = Arguments("segbench data check", main.__doc__)
    parser.add_argument("root", type=Path, metavar="DIR", help="the data set's folder")
    parser.add_argument(
        "--sheet", type=PICTURE, metavar="FILE", help="a contact sheet: .png or .jpg"
    )
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write all of it as JSON")
    parser.add_argument(
        "--near",
        type=int,
        default=NEAR,
        metavar="BITS",
        help=f"near duplicates differ in at most so many of {BITS} bits of a perceptual hash "
        f"({NEAR}; unrelated images differ in about half)",
    )
    options = parser.parse_args(argv)
    if not 0 <= options.near < BITS // 2:
        raise InputError(f"--near: {options.near}; give 0 to {BITS // 2 - 1} bits")
    found = survey(options.root, options.near)
    _print(found)
    if options.json:
        write_atomic(options.json, as_json(found.as_json()))
    if options.sheet:
        _write_sheet(options.sheet, found)
    if found.problems:
        sys.exit(1)


def _print(found: Survey) -> None:
    console = tables_console()
    for split, summary in found.splits.items():
        sizes = sorted(summary.sizes, key=lambda size: size[0] * size[1])
        span = [f"{width}x{height}" for width, height in dict.fromkeys(sizes[:1] + sizes[-1:])]
        print(
            f"{split}: {counted(summary.pairs, 'image')} in {counted(summary.groups, 'group')}"
            + (f", {' to '.join(span)} px" if span else "")
        )
    console.print(_table(found))
    for problem in found.problems:
        print(f"problem: {problem.line}")
    for remark in found.remarks:
        print(f"remark: {remark.line}")
    verdict = counted(len(found.problems), "problem") if found.problems else "fine"
    print(f"{found.root}: {verdict}, {counted(len(found.remarks), 'remark')}")


def _table(found: Survey) -> Table:
    """Of each class and split: pixels, their share of the labelled ones, images that show it."""
    table = Table()
    table.add_column("class", overflow="fold")
    for split in found.splits:
        for column in (f"{split} px", "%", "images"):
            table.add_column(column, justify="right")
    for one in found.classes:
        cells = []
        for summary in found.splits.values():
            pixels, labelled = int(summary.pixels[one.id]), int(summary.pixels.sum())
            share = f"{pixels / labelled:.2%}"[:-1] if labelled else ""
            cells += [f"{pixels:,}", share, str(summary.images[one.id])]
        table.add_row(escape(one.name), *cells)
    ignored = [[f"{summary.ignored:,}", "", ""] for summary in found.splits.values()]
    table.add_row("(ignored)", *(cell for cells in ignored for cell in cells))
    return table


def _write_sheet(path: Path, found: Survey) -> None:
    rows = {}
    for split in SPLITS:
        looks = [look for look in found.looks if look.split == split and look.error is None]
        places = np.linspace(0, len(looks) - 1, min(SHEET_IMAGES, len(looks))).round().astype(int)
        pairs = [looks[place].pair for place in places]
        if pairs:
            rows[split] = [(read_image(pair.image), read_mask(pair.mask)) for pair in pairs]
    write_sheet(path, overlay_sheet(rows, found.classes))
