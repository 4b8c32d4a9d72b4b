"""``segbench data``: its verbs. Imports nothing heavy until one of them needs it."""

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from segbench.arguments import Arguments
from segbench.errors import InputError

VERBS = {
    "generate": ("segbench.data.commands:generate", "paint synthetic scenes, masks of 8 classes"),
    "check": ("segbench.data.survey.command:main", "all that is wrong or odd in a data set"),
    "split": ("segbench.data.split:main", "train, val and test by group, classes spread evenly"),
    "prepare floodnet": (
        "segbench.data.floodnet:main",
        "the official FloodNet, 8 classes, a quarter as wide",
    ),
    "prepare colormap": ("segbench.data.colormap:main", "masks in colour to masks of class ids"),
}

HELP = """\
usage: segbench data VERB [ARGUMENTS]

Make, check, split and convert data sets.

verbs:
{verbs}

`segbench data VERB --help` tells more.
"""


def main(argv: list[str]) -> None:
    """Run one of the ``data`` verbs."""
    for words in (1, 2):
        name = " ".join(argv[:words])
        if name in VERBS:
            module, function = VERBS[name][0].split(":")
            getattr(import_module(module), function)(argv[words:])
            return
    if not argv or argv[0] in ("-h", "--help") or argv[1:] in (["-h"], ["--help"]):
        verbs = "\n".join(f"  {name:17s} {text}" for name, (_, text) in VERBS.items())
        print(HELP.format(verbs=verbs), end="")
        return
    wanted = " ".join(argv[:2]) if argv[0] == "prepare" else argv[0]
    near = get_close_matches(wanted, VERBS, 1)
    hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(VERBS)}"
    raise InputError(f"data {wanted}: no such verb; {hint}")


def generate(argv: list[str]) -> None:
    """Paint synthetic aerial scenes with masks of 8 classes."""
    parser = Arguments("segbench data generate", generate.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    for split, count in (("train", 48), ("val", 12), ("test", 24)):
        parser.add_argument(
            f"--{split}", type=int, default=count, help=f"scenes in {split} ({count})"
        )
    parser.add_argument("--size", type=int, default=256, help="side of a scene in pixels (256)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same scenes (0)")
    options = parser.parse_args(argv)
    from segbench.data.synthetic import generate as paint

    counts = {split: getattr(options, split) for split in ("train", "val", "test")}
    paint(options.out, **counts, size=options.size, seed=options.seed)
    scenes = " + ".join(map(str, counts.values()))
    sheet = options.out / "contact_sheet.jpg"
    print(f"{options.out}: {scenes} scenes of {options.size} px; see {sheet}")
