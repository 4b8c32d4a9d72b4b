"""Arguments of the commands that Lightning has no part in, and where commands print."""

import argparse
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from segbench.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


class Arguments(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, like every other of segbench's."""

    def __init__(self, command: str, description: str | None) -> None:
        super().__init__(
            command,
            description=inspect.cleandoc(description or ""),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; {self.prog} --help tells more")


def positive(text: str) -> int:
    """The type of an option that counts something."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give 1 or more")
    return int(text)


def output_file(text: str) -> Path:
    """The type of an option that names a file to write: refused before the work, not after."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: {path.parent} is not a folder; make it first")
    return path


def file_ending_in(*endings: str) -> Callable[[str], Path]:
    """The same for a file whose kind is told by the end of its name."""

    def named(text: str) -> Path:
        if Path(text).suffix.lower() not in endings:
            raise argparse.ArgumentTypeError(f"{text}: give a name in {' or '.join(endings)}")
        return output_file(text)

    return named


PICTURE = file_ending_in(".png", ".jpg", ".jpeg")
"""A picture, such as a contact sheet."""


def tables_console() -> "Console":
    """Where tables are printed: as wide as the terminal, or wide where there is none."""
    console = _console(sys.stdout)
    if not console.is_terminal:
        console.width = 240  # a file or a pipe has no edge to wrap at
    return console


def progress_console() -> "Console":
    """Where bars and live lines are shown: stderr, if somebody watches."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> "Console":
    from rich.console import Console  # help texts do without it

    # Jupyter sets FORCE_COLOR for the commands in its cells, which rich takes for a terminal
    terminal = None if stream.isatty() else False
    # nor is a class that is named :car: a picture of one
    return Console(stderr=stream is sys.stderr, force_terminal=terminal, emoji=False)
