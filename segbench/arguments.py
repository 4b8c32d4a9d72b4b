"""Arguments of the commands that Lightning has no part in."""

import argparse
import inspect
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
