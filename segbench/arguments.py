"""Arguments of the commands that Lightning has no part in."""

import argparse
import inspect
from pathlib import Path
from typing import NoReturn

from segbench.errors import InputError


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


def output_file(text: str) -> Path:
    """The type of an option that names a file to write: refused before the work, not after."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: {path.parent} is not a folder; make it first")
    return path
