"""The one door. Imports nothing heavy until a verb needs it."""

import errno
import os
import sys
from difflib import get_close_matches
from importlib import import_module

from segbench import __version__
from segbench.errors import InputError
from segbench.wording import printable

COMMANDS = {
    "fit": ("segbench.training.commands:fit", "train a network and test it: one run folder"),
    "validate": ("segbench.training.commands:validate", "score a checkpoint on val"),
    "test": ("segbench.training.commands:test", "score a checkpoint on test"),
    "predict": ("segbench.training.commands:predict", "write a checkpoint's predictions of test"),
    "sweep": ("segbench.study.commands:sweep", "run a study: arms x seeds, what is missing of it"),
    "pull": ("segbench.study.commands:pull", "bring home the runs of a W&B sweep"),
    "compare": ("segbench.report.compare:main", "the verdicts: does it help, and how sure are we?"),
    "benchmark": ("segbench.inference.benchmark:main", "latency, memory and size of its networks"),
    "pick": ("segbench.report.cost:main", "quality against cost; the best arm within limits"),
    "errors": ("segbench.report.errors:main", "what the networks get wrong, and why"),
    "augmentation": ("segbench.inference.augmentation:main", "why augmentation helps or hurts"),
    "aspp": ("segbench.inference.aspp:main", "could ASPP help, and did it?"),
    "report": ("segbench.report.page.command:main", "one HTML page with all that a study says"),
    "publish": ("segbench.report.publish:main", "the comparison as a saved W&B workspace"),
    "export": ("segbench.inference.export:main", "a run as an ONNX model, checked"),
    "segment": ("segbench.inference.segment:main", "a run's network on images of any size"),
    "runs": ("segbench.report.runs_table:main", "list the runs of a study with their scores"),
    "data": ("segbench.data.commands:main", "generate, check, split and convert data sets"),
}

# what a full, read-only or foreign disk answers, and a file where a folder should be
THE_DISKS = {
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EFBIG", "ENOTDIR", "EEXIST")
    if hasattr(errno, name)
}

PART_OF_A_STUDY = {"SEGBENCH_PARENT", "WANDB_SWEEP_ID"}
"""Set for what an engine, or a W&B agent, started: it must not outlive who started it."""

HELP = """\
usage: segbench COMMAND [ARGUMENTS]

Choose a segmentation network for a small set of aerial images, and defend the choice.

commands:
{commands}

`segbench COMMAND --help` tells more. To begin:
  segbench data generate --out data/scenes
  segbench fit --config configs/unet.yaml
"""


def main() -> None:
    """Exit codes: 0 done, 1 failed, 2 bad input (one line on stderr), 130 interrupted."""
    name, *argv = sys.argv[1:] or ["--help"]
    try:
        _run(name, argv)
        sys.stdout.flush()
    except InputError as error:
        line = " ".join(printable(str(error)).split("\n"))
        print(f"segbench: {line}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in THE_DISKS:
            raise
        where = error.filename or "output"
        print(
            f"segbench: {where}: {error.strerror}; free space, ask for access, or write elsewhere",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _run(name: str, argv: list[str]) -> None:
    if name in ("-h", "--help"):
        commands = "\n".join(f"  {name:12s} {text}" for name, (_, text) in COMMANDS.items())
        print(HELP.format(commands=commands), end="")
        return
    if name == "--version":
        print(__version__)
        return
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(COMMANDS)}"
        raise InputError(f"{name}: no such command; {hint}")
    if os.environ.keys() & PART_OF_A_STUDY:
        from segbench.study.leash import die_with_parent

        die_with_parent()
    module, function = COMMANDS[name][0].split(":")
    getattr(import_module(module), function)(argv)
