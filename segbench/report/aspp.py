"""Whether ASPP could help, as tables and sentences."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from segbench.analysis.aspp import Audit, Comparison, Context
from segbench.analysis.diagnosis import shown
from segbench.report.verdicts import basis, bounds, difference, verdict_words


def lines(found: Audit) -> Iterator[str]:
    """For each arm with ASPP what it could see, what that did, and whether it helped."""
    for context in found.contexts:
        verdicts = [c for c in found.comparisons if c.contrast.arm == context.arm]
        said = [f"{context.arm}: {_could(context, verdicts)}"]
        if context.zeroed is not None:
            said.append(
                "Without the taps that were never trained its mean IoU changes by "
                f"{shown(context.zeroed)} ({basis(context.zeroed)}): "
                f"{verdict_words(context.zeroed)}."
            )
        elif context.idle:
            said.append("What those taps do to its mean IoU was not measured.")
        said += [_verdict(one) for one in verdicts]
        yield " ".join(said)


def _could(context: Context, verdicts: Sequence[Comparison]) -> str:
    """What its dilated branches could learn. The pool over the whole image is no part of this."""
    if context.control:
        return "the control for capacity: rates of 1, no context beyond a 3x3."
    maps = f"{context.crop_map}x{context.crop_map} maps of its crops"
    if not context.blind:
        least = min(branch.seen_in_training for branch in context.branches)
        return f"every tap saw image in training ({least:.0%} of taps and places, on the {maps})."
    rates = ("rate " if len(context.blind) == 1 else "rates ") + ", ".join(
        str(branch.rate) for branch in context.blind
    )
    saw = f"saw only padding in training, on the {maps}{_at_test(context)}."
    if len(context.blind) < len(context.branches):
        return f"beside their centre, the {rates} {saw}"
    if any(one.against == "off" and "better" in one.contrast.verdict for one in verdicts):
        return f"what helped here is not the dilated branches: their {rates} {saw}"
    return f"ASPP's dilated branches could not help here: their {rates} {saw}"


def _at_test(context: Context) -> str:
    if not context.idle:
        return ", and see no more at test"
    drawn = ", ".join(f"{branch.energy_as_drawn:.0%}" for branch in context.blind)
    measured = [f"{b.energy:.0%}" for b in context.blind if b.energy is not None]
    if not measured:
        return f", and untrained weights at test: as drawn {drawn} of the branches' energy"
    return (
        f", and untrained weights at test: {', '.join(measured)} of the branches' energy "
        f"({drawn} as drawn)"
    )


def _verdict(one: Comparison) -> str:
    against = {"off": "without ASPP", "control": "the control for capacity"}[one.against]
    own, other = one.strides
    stride = f"; the stride differs too, {own} and {other}" if own != other else ""
    contrast = one.contrast
    return (
        f"Against {contrast.baseline} ({against}{stride}): {shown(contrast)} mean IoU "
        f"({basis(contrast)}), {verdict_words(contrast)}."
    )


def branch_table(found: Audit) -> Table:
    """What each branch sees in training and in evaluation."""
    table = Table(
        title="Dilated branches: taps x positions that see image and not padding; energy that "
        "untrained taps bring in"
    )
    table.add_column("arm", overflow="fold")
    columns = ("rate", "stride", "map in training", "sees", "taps trained", "maps in evaluation")
    for column in (*columns, "sees", "untrained taps that see", "energy as drawn", "measured"):
        table.add_column(column, justify="right")
    for context in found.contexts:
        smallest, largest = ("x".join(map(str, one)) for one in context.maps)
        evaluation = smallest if smallest == largest else f"{smallest} to {largest}"
        for number, branch in enumerate(context.branches):
            table.add_row(
                escape(context.arm) if number == 0 else "",
                str(branch.rate),
                str(context.stride),
                f"{context.crop_map}x{context.crop_map}",
                f"{branch.seen_in_training:.0%}",
                f"{branch.trained} of 9",
                evaluation,
                f"{branch.seen_in_evaluation:.0%}",
                str(branch.idle),
                f"{branch.energy_as_drawn:.0%}",
                "" if branch.energy is None else f"{branch.energy:.0%}",
            )
    return table


def verdict_table(found: Audit) -> Table:
    """Does ASPP help, does its context, and what do the untrained taps do?"""
    table = Table(title="Effects on test mean IoU; the last ones compare the same networks")
    for column in ("contrast", "difference", "interval", "verdict"):
        table.add_column(column, overflow="fold")
    zeroed = [context.zeroed for context in found.contexts if context.zeroed is not None]
    for c in [*(one.contrast for one in found.comparisons), *zeroed]:
        interval = f"{bounds(c)} ({100 * c.ci_level:.4g} %)" if bounds(c) else ""
        words = (f"{c.arm} - {c.baseline}", difference(c), interval, verdict_words(c))
        table.add_row(*map(escape, words))
    return table


def as_json(found: Audit) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "arms": [
            asdict(context)
            | {"zeroed": context.zeroed.as_json() if context.zeroed else None}
            | {"sentence": line}
            for context, line in zip(found.contexts, lines(found), strict=True)
        ],
        "comparisons": [
            {"against": one.against, "strides": list(one.strides), **one.contrast.as_json()}
            for one in found.comparisons
        ],
    }
