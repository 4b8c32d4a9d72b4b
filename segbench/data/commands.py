"""``segbench data``: make data sets."""

import argparse
from pathlib import Path


def main(argv: list[str]) -> None:
    """Run one of the ``data`` verbs."""
    parser = argparse.ArgumentParser("segbench data")
    verbs = parser.add_subparsers(dest="verb", required=True)
    generate = verbs.add_parser(
        "generate",
        help="paint synthetic aerial scenes with masks of 8 classes",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    generate.add_argument("--out", type=Path, required=True, help="the folder to make")
    for split, count in (("train", 48), ("val", 12), ("test", 24)):
        generate.add_argument(f"--{split}", type=int, default=count, help=f"scenes in {split}")
    generate.add_argument("--size", type=int, default=256, help="side of a scene in pixels")
    generate.add_argument("--seed", type=int, default=0, help="same seed, same scenes")
    options = vars(parser.parse_args(argv))
    options.pop("verb")
    _generate(**options)


def _generate(out: Path, train: int, val: int, test: int, size: int, seed: int) -> None:
    from segbench.data.synthetic import generate

    generate(out, train=train, val=val, test=test, size=size, seed=seed)
    print(f"{out}: {train} + {val} + {test} scenes of {size} px; see {out / 'contact_sheet.jpg'}")
