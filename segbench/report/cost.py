"""``segbench pick STUDY``: quality against cost, and the best arm within limits."""

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from segbench.analysis.compare import Contrast
from segbench.analysis.cost import COSTS, ArmCost, Pick, costs, faster, pick, runtime_of
from segbench.analysis.study import StudyRuns, read_study
from segbench.arguments import Arguments, file_ending_in, output_file, tables_console
from segbench.files import as_json, write_atomic
from segbench.report.verdicts import metric_name, verdict_words

UNITS = {
    "training": {"s": 1.0, "min": 60.0, "h": 3600.0},
    "latency": {"ms": 1.0, "s": 1000.0},
    "size": {"KB": 1e-3, "MB": 1.0, "GB": 1e3},
    "memory": {"KB": 1e-3, "MB": 1.0, "GB": 1e3},
}
"""Of each limit, as multiples of the unit that analysis counts in."""

FIGURE = file_ending_in(".html", ".svg", ".png")

MEANINGS = {
    "training": "of one run, such as 2h",
    "latency": "of one image, such as 50ms",
    "size": "of the weights, such as 40MB",
    "memory": "at its peak for one image, such as 2GB",
}


def main(argv: list[str]) -> None:
    """Name the best arm of a study within limits, and how sure that is.

    Without limits: every arm's quality and costs, and the probability that it is on the Pareto
    front, that is, that no other is as good and cheaper.
    """
    options = _options(argv)
    study = read_study(options.study)
    runtime = options.runtime or runtime_of(study)
    found = costs(study, runtime)
    limits = {name: getattr(options, name) for name in COSTS if getattr(options, name) is not None}
    chosen = pick(study, limits, runtime) if limits else None
    console = tables_console()
    console.print(cost_table(found, str(options.study[0]), runtime))
    console.print(front_table(found))
    console.print(training_table(found, options.price))
    if not any("latency" in one.values for one in found):
        print(f"latency and memory are not measured: segbench benchmark {options.study[0]}")
    if chosen:
        print(pick_sentence(chosen, limits, found))
    if options.json:
        content: dict[str, Any] = {"arms": [asdict(one) for one in found]}
        content |= {"pick": asdict(chosen)} if chosen else {}
        write_atomic(options.json, as_json(content))
    if options.figure:
        from segbench.report.figures.cost import cost_figure
        from segbench.report.figures.files import write_figure

        write_figure(cost_figure(found), options.figure)
    if chosen and chosen.arm is None:
        raise SystemExit(1)


def cost_table(found: Sequence[ArmCost], study: str, runtime: str) -> Table:
    """Quality and costs, one row per arm."""
    known = [name for name in COSTS if any(name in one.values for one in found)]
    table = Table(title=f"Quality and cost of the arms of {escape(study)} ({runtime}) [95 %]")
    table.add_column("arm", overflow="fold")
    names = [f"{name} ({COSTS[name]})" for name in known]
    for column in ("mean IoU", "M param.", "GMAC", *names):
        table.add_column(column, justify="right")
    for one in found:
        macs = "" if one.benchmark is None else f"{one.benchmark['macs'] / 1e9:.2f}"
        table.add_row(
            escape(one.arm),
            _interval(one.mean_iou, 3),
            f"{one.parameters / 1e6:.2f}",
            macs,
            *(_interval(one.values[name], 1) if name in one.values else "" for name in known),
        )
    return table


def front_table(found: Sequence[ArmCost]) -> Table:
    """How likely each arm is on the Pareto front of mean IoU and a cost, and of all of them."""
    table = Table(title="Probability that no other arm is as good and cheaper")
    table.add_column("arm", overflow="fold")
    for name in found[0].on_front:
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(escape(one.arm), *(f"{share:.0%}" for share in one.on_front.values()))
    return table


def training_table(found: Sequence[ArmCost], price: float | None) -> Table:
    """What training took, and with a price per device and hour what it cost."""
    table = Table(title="Training: means over seeds")
    table.add_column("arm", overflow="fold")
    columns = ("s per epoch", "crops/s", "epochs to best", "s to best", "s to 95 % of best val")
    for column in (*columns, "device hours", *(["price"] if price is not None else [])):
        table.add_column(column, justify="right")
    for one in found:
        t = one.training
        money = [] if price is None else [f"{price * t.device_hours:.2f}"]
        table.add_row(
            escape(one.arm),
            *(f"{v:.1f}" for v in (t.seconds_per_epoch, t.crops_per_second, t.epochs_to_best)),
            *(f"{v:.0f}" for v in (t.seconds_to_best, t.seconds_to_enough)),
            f"{t.device_hours:.3f}",
            *money,
        )
    return table


def pick_sentence(chosen: Pick, limits: dict[str, float], found: Sequence[ArmCost]) -> str:
    """The choice in words."""
    wanted = " and ".join(f"{name} up to {limit:g} {COSTS[name]}" for name, limit in limits.items())
    if chosen.arm is None:
        name = next(iter(limits))
        least = min(found, key=lambda one: one.values[name][0])
        return (
            f"no arm is within {wanted}; the least {name} has {least.arm}: "
            f"{least.values[name][0]:.1f} {COSTS[name]}"
        )
    (one,) = (one for one in found if one.arm == chosen.arm)
    others = [f"{arm} {p:.0%}" for arm, p in chosen.within.items() if arm != chosen.arm]
    rest = f"; else {', '.join(others)}" if others else "; no other arm is within"
    return (
        f"within {wanted}: {one.arm}, mean IoU {_interval(one.mean_iou, 3)}, the best of these "
        f"with probability {chosen.probability:.0%}{rest}"
    )


def cost_sentence(contrast: Contrast, study: StudyRuns) -> str | None:
    """What a contrast's difference is paid with, and its verdict; None where nothing is known."""
    paid = price(contrast, study)
    if paid is None or contrast.seeds == 0:
        return None
    metric = metric_name(contrast.metric)
    return f"{paid}, {metric} {contrast.difference:+.3f}: {verdict_words(contrast)}."


def price(contrast: Contrast, study: StudyRuns) -> str | None:
    """MACs, speed and size of an arm's network against those of its baseline.

    None for one network, for a contrast of more than two arms, or where none is measured.
    """
    arms = {arm.name: arm for arm in study.arms}
    arm, baseline = arms.get(contrast.arm), arms.get(contrast.baseline)
    if arm is None or baseline is None:
        return None
    runtime = runtime_of(study)
    ours, theirs = arm.benchmark, baseline.benchmark
    speed = faster(arm, baseline, runtime)
    if ours is None or theirs is None or speed is None:
        return None
    if (ours["macs"], ours["parameters"]) == (theirs["macs"], theirs["parameters"]):
        return None
    value, low, high = speed
    parts = [
        _times(theirs["macs"] / ours["macs"], "fewer", "more", "MACs"),
        f"{_speed(value, low, high)} [{low:.2f}, {high:.2f}] ({runtime})",
        _times(theirs["size_mb"] / ours["size_mb"], "smaller", "larger"),
    ]
    return f"{contrast.arm} against {contrast.baseline}: {', '.join(parts)}"


def _speed(value: float, low: float, high: float) -> str:
    if low <= 1 <= high:
        return "no difference in speed shown,"
    return _times(value, "faster", "slower")


def _times(ratio: float, less: str, more: str, what: str = "") -> str:
    word = less if ratio >= 1 else more
    return f"{max(ratio, 1 / ratio):.2g} x {word} {what}".rstrip()


def _interval(value: tuple[float, float, float], digits: int) -> str:
    middle, low, high = (f"{number:.{digits}f}" for number in value)
    return middle if low == high else f"{middle} \\[{low}, {high}]"


def _limit(name: str) -> Callable[[str], float]:
    units = UNITS[name]

    def limit(text: str) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text)
        if not found or found[2] not in units or float(found[1]) == 0:
            raise argparse.ArgumentTypeError(
                f"{text}: give a number and its unit, {' or '.join(units)}"
            )
        return float(found[1]) * units[found[2]]

    return limit


def _price(text: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = -1
    if not 0 <= price < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: give a price per device and hour")
    return price


def _options(argv: list[str]) -> argparse.Namespace:
    parser = Arguments("segbench pick", main.__doc__)
    parser.add_argument("study", type=Path, nargs="+", help="a study's folder, or several of one")
    for name, meaning in MEANINGS.items():
        parser.add_argument(f"--{name}", type=_limit(name), help=f"the most, {meaning}")
    parser.add_argument("--runtime", help="whose latency counts (eager, where it was measured)")
    parser.add_argument("--price", type=_price, help="of a GPU (or machine) and hour, in any money")
    parser.add_argument("--json", type=output_file, metavar="FILE", help="write it all as json")
    parser.add_argument(
        "--figure",
        type=FIGURE,
        metavar="FILE",
        help="mean IoU against each cost, as html, svg, png",
    )
    return parser.parse_args(argv)
