"""Files that are whole or not there."""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segbench.errors import InputError

NUMBER = int | float
EVERY = None
"""As a key of a shape: each entry of a mapping or a list."""


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write ``content`` to ``path`` so that a reader, or a crash, never meets a part of it."""
    with replacing(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def as_json(content: Any) -> str:
    """The text of a JSON file; what is no number in Python, a score of an absent class, is null."""
    return json.dumps(_plain(content), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Whatever a damaged file raises, as the one line that names it and says what to do.

    Raises:
        InputError: the block failed.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # damaged bytes raise whatever they suggest
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: not readable ({said[:200]}); {remedy}") from None


def check_shape(content: Any, shape: Any, name: str = "it") -> None:
    """Hold what was read from JSON against what it should look like.

    Args:
        content: what was read.
        shape: a type, a union of types, or a mapping from the keys that must be there, or from
            EVERY, to their shapes.
        name: of the content, for the complaint.

    Raises:
        ValueError: it looks otherwise.
    """
    if not isinstance(shape, Mapping):
        if not isinstance(content, shape):
            raise ValueError(f"{name} is {content!r:.40}")
        return
    if not isinstance(content, dict | list):
        raise ValueError(f"{name} is {content!r:.40}")
    entries = content if isinstance(content, dict) else dict(enumerate(content))
    for key, inner in shape.items():
        for found in entries if key is EVERY else [key]:
            if found not in entries:
                raise ValueError(f"{name} has no {found}")
            check_shape(entries[found], inner, str(found))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write into, which takes its name where the block ends well."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:50]}.", suffix=".part", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        handle = os.open(name, os.O_RDWR)
        os.fsync(handle)
        os.close(handle)
        os.chmod(name, 0o644)  # mkstemp's files are private
        os.replace(name, path)
    except BaseException as error:
        os.unlink(name)
        if isinstance(error, OSError):  # a full disk does not say which file it was
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill that takes the name ``out`` at the end, in a single rename.

    Raises:
        InputError: ``out`` is in use; an empty folder is not.
    """
    out = out.resolve()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: already in use; name a new or empty folder, or delete it first")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name[:50]}-", dir=out.parent) as temporary:
        staging = Path(temporary) / "new"
        staging.mkdir()
        yield staging
        staging.rename(out)


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same bytes, or a copy where the disk allows no hard link."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
