"""Text files that anybody may have written: plain values of a sane shape, or one line why not."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import TypeAdapter, ValidationError

from segbench.errors import InputError
from segbench.wording import CONTROLS

YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser in C, where PyYAML was built with it: a study has many small files."""

DEEPEST = 50
MOST = 1_000_000
"""Levels of nesting, and values of YAML with those that aliases repeat: no file of ours comes near.
The parser in C crashes on deep ones, and a few aliases of aliases fill any memory."""

MEND = "mend it"


@contextmanager
def reading(where: Path | str, remedy: str, kind: str = "") -> Iterator[None]:
    """Whatever damaged content raises, as the one line that names it and says what to do.

    Raises:
        InputError: the block failed.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # damaged bytes raise whatever they suggest
        as_kind = f" as {kind}" if kind and not isinstance(error, OSError) else ""
        raise InputError(f"{where}: not readable{as_kind} ({_reason(error)}); {remedy}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = " ".join(str(error).split())[:300]
    if said and isinstance(error, ValueError | yaml.YAMLError):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def read_text(path: Path, remedy: str = MEND) -> str:
    """A file of UTF-8 text; Windows' mark in front of it is dropped.

    Raises:
        InputError: missing, not readable, or of another encoding.
    """
    with reading(path, remedy, "UTF-8 text"):
        return path.read_text(encoding="utf-8-sig")


def read_json(path: Path, remedy: str = MEND) -> Any:
    """What is in a JSON file: finite numbers, no key twice, no control characters.

    Raises:
        InputError: it is missing, or holds anything else.
    """

    def refused(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no number of JSON")

    text = read_text(path, remedy)
    with reading(path, remedy, "JSON"):
        content = json.loads(text, object_pairs_hook=_object, parse_constant=refused)
        return _plain(content, of_json=True)


def read_yaml(path: Path, remedy: str = MEND, loader: Any = YamlLoader) -> Any:
    """What is in a YAML file: plain values under keys that are words.

    Raises:
        InputError: it is missing, or holds anything else.
    """
    return parse_yaml(read_text(path, remedy), path, remedy, loader)


def parse_yaml(text: str, where: Path | str, remedy: str = MEND, loader: Any = YamlLoader) -> Any:
    """The same of a text; complaints say ``where`` it stands."""
    with reading(where, remedy, "YAML"):
        _check_depth(text, loader)
        return _plain(yaml.load(text, loader))


def check_shape(content: Any, shape: TypeAdapter[Any], where: Path, remedy: str) -> None:
    """Refuse content of another shape.

    Raises:
        InputError: it names the first place that differs.
    """
    try:
        shape.validate_python(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        message = f"{place}: {first['msg']}" if place else first["msg"]
        raise InputError(f"{where}: {message}; {remedy}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return found


def _check_depth(text: str, loader: Any) -> None:
    depth = 0
    for event in yaml.parse(text, loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} levels deep")


def _plain(content: Any, of_json: bool = False) -> Any:
    """The content, if it is of plain values, few enough and not too deep; else ValueError."""
    waiting, count = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if depth > DEEPEST:
            raise ValueError(f"nested more than {DEEPEST} levels deep")
        if count > MOST and not of_json:  # which has no aliases
            raise ValueError(f"holds more than {MOST:,} values")
        waiting += [(part, depth + 1) for part in _parts(value, of_json)]
    return content


def _parts(value: Any, of_json: bool) -> list[Any]:
    """What a value is made of, nothing for a scalar."""
    match value:
        case dict():
            for key in value:
                if not isinstance(key, str):
                    raise ValueError(f"{key}: a key must be a word")
            return [*value, *value.values()]
        case list():
            return value
        case str():
            if CONTROLS.search(value):
                raise ValueError(
                    f"holds control characters ({value[:80]!r}); a name must be plain text"
                )
        case bool() | None:
            pass
        case int() if abs(value) >= 2**63:
            raise ValueError(f"holds a number of {len(str(abs(value)))} digits")
        case float() if of_json and not math.isfinite(value):
            raise ValueError("holds a number that is too large")
        case int() | float():
            pass
        case _:
            raise ValueError(f"holds a {type(value).__name__}: {value}; put it in quotes")
    return []
